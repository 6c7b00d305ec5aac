"""The decision over the statements of one build, and the signed record of it."""

from silvermetal_proof.verdict.decide import decide
from silvermetal_proof.verdict.drift import Drift, drift
from silvermetal_proof.verdict.records import BuildRequest, HostResult, Outcome, Policy, Submission, TagSeen, Verdict
from silvermetal_proof.verdict.render import render
from silvermetal_proof.verdict.vsa import VerifiedVerdict, sign_verdict, verify_verdict

__all__ = [
    "BuildRequest",
    "Drift",
    "HostResult",
    "Outcome",
    "Policy",
    "Submission",
    "TagSeen",
    "Verdict",
    "VerifiedVerdict",
    "decide",
    "drift",
    "render",
    "sign_verdict",
    "verify_verdict",
]
