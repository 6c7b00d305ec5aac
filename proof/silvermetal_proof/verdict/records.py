"""The data of a decision: what was asked, what came back, under which policy, and what was decided.

Rules:

- Everything that the decision depends on is in these records: no clock, no configuration behind its back.
- A verdict names each host with got and expected; its texts hold no control characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from silvermetal_proof.host.enrolment import HostEntry, Operator
from silvermetal_proof.host.evidence import HostEvidence, Observation
from silvermetal_proof.model import Commit, Hex64, Line, Name, Record, Sha256, Time
from silvermetal_proof.statement.schema import BuildId, FileName, Ref
from silvermetal_proof.variation import Variation

MAX_HOSTS = 16
"""More hosts than this in one build are refused by policy: subsets are enumerated for independence."""


class Outcome(StrEnum):
    """The six outcomes, in the order in which they are tried."""

    INVALID = "INVALID"
    INCOMPLETE = "INCOMPLETE"
    INPUT_DRIFT = "INPUT_DRIFT"
    DIVERGED = "DIVERGED"
    NOT_INDEPENDENT = "NOT_INDEPENDENT"
    REPRODUCED = "REPRODUCED"


class Policy(Record):
    """What is asked of a build before it counts as reproduced."""

    quorum: Annotated[int, Field(ge=2, le=MAX_HOSTS)] = 2
    """Hosts that must agree. One statement is never enough."""
    min_independence: Annotated[int, Field(ge=1, le=4)] = 2
    """The independence level, 1 to 4."""
    size_floor: Annotated[int, Field(ge=0)] = 16 * 1024 * 1024
    """Bytes below which an image is no bootable live system."""
    release: bool = True
    """A release asks for the level; a development build is only warned."""


class TagSeen(Record):
    """What the master found of the tag that it built: the object that the ref named, and whose signature held."""

    object: Commit
    """The tag object of an annotated tag, the commit of a lightweight one."""
    annotated: bool
    signature: Literal["ssh", "openpgp"] | None = None
    """None: no signature was asked for and none was checked."""
    signer: Annotated[Line, Field(max_length=201)] | None = None
    """The principal of an SSH key, the user id of an OpenPGP key, as the master's own settings name it."""
    key: Annotated[Line, Field(max_length=100)] | None = None
    """The key's fingerprint."""

    @property
    def told(self) -> str:
        """A sentence for people."""
        if self.signer is not None:
            return f"signed by {self.signer} ({self.signature} key {self.key})"
        return (
            "an annotated tag without a signature that was checked"
            if self.annotated
            else "a lightweight tag, not signed"
        )


class BuildRequest(Record):
    """What the master asked of every host."""

    build: BuildId
    repository: Line
    ref: Ref
    commit: Commit
    recipe: Name
    pins: Sha256
    expected_inputs: dict[Annotated[str, Field(max_length=256)], Annotated[str, Field(max_length=32768)]]
    """Inputs that pins fix, by the names that :func:`silvermetal_proof.verdict.drift.inputs_of` gives."""
    nonces: dict[Name, Hex64]
    """Host to its own nonce."""
    tag: TagSeen | None = None
    """Only for a tag."""
    variations: dict[Name, Variation] = {}
    """Host to what it was asked to do otherwise; most do nothing."""
    attribution: BuildId | None = None
    """Set where a build is asked for to explain that one; a case about it has no verdict but INVALID."""


@dataclass(frozen=True)
class Submission:
    """What became of one host: an envelope (opened, unverified), or the reason why there is none."""

    host: str
    observation: Observation | None
    envelope: bytes | None = None
    problem: str | None = None
    broken: str | None = None
    """What came is no envelope that can be looked at (it does not open, or there were two): an answer, and invalid."""
    ours: bool = False
    """True when the cause lies with the build service (infrastructure), not with the host's build."""


@dataclass(frozen=True)
class Case:
    """All that :func:`decide` looks at."""

    request: BuildRequest
    submissions: tuple[Submission, ...]
    policy: Policy
    hosts: tuple[HostEntry, ...]
    operators: tuple[Operator, ...] = ()
    at: str = ""
    """When the statements were collected, RFC 3339: keys must be valid then."""


class HostResult(Record):
    """What is recorded of one host in a verdict."""

    host: Name
    worker: Name | None = None
    answered: bool
    valid: bool
    problem: Annotated[str, Field(max_length=2048)] | None = None
    iso: FileName | None = None
    iso_sha256: Hex64 | None = None
    size: int | None = None
    statement: Sha256 | None = None
    """Digest of the worker's envelope."""
    peer: Annotated[str, Field(max_length=64)] | None = None
    tls_identity: Line | None = None
    """Subject and digest of the certificate that the host connected with, as the master saw it."""
    evidence: HostEvidence | None = None
    seconds: int | None = None
    """How long the host's build took, as the master saw it."""
    variation: Variation | None = None
    """What the host did otherwise on purpose."""


class DriftedInput(Record):
    """One input that the hosts did not have in common; values by host, plus what the pins asked for."""

    name: Annotated[str, Field(max_length=512)]
    expected: Annotated[str, Field(max_length=1024)] | None = None
    values: dict[Name, Annotated[str, Field(max_length=1024)]]


class Verdict(Record):
    """The decision over one build."""

    version: Literal[1] = 1
    outcome: Outcome
    level: Annotated[int, Field(ge=0, le=4)]
    summary: Annotated[str, Field(max_length=2048)]
    reasons: tuple[Annotated[str, Field(max_length=2048)], ...]
    build: BuildId
    repository: Line
    ref: Ref
    commit: Commit
    recipe: Name
    pins: Sha256
    tag: TagSeen | None = None
    """Of a tag: its object and who signed it."""
    policy: Policy
    hosts: tuple[HostResult, ...]
    drift: tuple[DriftedInput, ...] = ()
    odd_one_out: Name | None = None
    ours: bool = False
    """INCOMPLETE because of the build service itself."""
    decided: Time

    @property
    def passed(self) -> bool:
        """True for REPRODUCED alone."""
        return self.outcome is Outcome.REPRODUCED

    @property
    def iso_sha256(self) -> str | None:
        """The digest that all valid statements agree on, if they do."""
        digests = {h.iso_sha256 for h in self.hosts if h.valid}
        return next(iter(digests)) if len(digests) == 1 else None
