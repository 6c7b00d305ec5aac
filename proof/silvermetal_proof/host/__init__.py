"""What a build host is: its enrolment, its own evidence, what the master saw, and how far two hosts are apart."""

from silvermetal_proof.host.enrolment import HostEntry, Operator, operator_signed, sign_entry
from silvermetal_proof.host.evidence import HostEvidence, Observation
from silvermetal_proof.host.independence import Independence, Level, Party, independence

__all__ = [
    "HostEntry",
    "HostEvidence",
    "Independence",
    "Level",
    "Observation",
    "Operator",
    "Party",
    "independence",
    "operator_signed",
    "sign_entry",
]
