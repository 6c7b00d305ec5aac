"""What the tests of ``silvermetal_proof`` are made of: one build, its hosts with keys, statements that hold.

Rules:

- Everything is deterministic: keys come from a seed, times are fixed; two runs test the same bytes.
- A test changes one thing and says which; the rest holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from silvermetal_proof import canonical
from silvermetal_proof.digest import Measurement
from silvermetal_proof.host import HostEntry, HostEvidence, Observation, Operator, sign_entry
from silvermetal_proof.host.evidence import Cpu, Engine, Kernel
from silvermetal_proof.statement import SigningKey, make_statement, sign
from silvermetal_proof.statement.schema import Dependency, DigestSet, ExternalParameters, InternalParameters
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict import BuildRequest, Policy, Submission
from silvermetal_proof.verdict.records import Case

BUILD = "0123456789abcdef" * 2
COMMIT = "c0ffee00" * 5
REPOSITORY = "https://git.example.org/silvermetal/live.git"
REF = "refs/tags/v1"
RECIPE = "minimal-live"
SIZE = 20 * 1024 * 1024
AT = "2026-03-01T12:30:00Z"


def hex64(*parts: object) -> str:
    """64 hex digits that belong to ``parts``."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


PINS = f"sha256:{hex64('pins')}"
ISO = hex64("iso")


def key_of(name: str) -> SigningKey:
    """The key of ``name``, the same in each run."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


OPERATORS = tuple(
    Operator(operator=name, public_key=key_of(f"operator {name}").public.hex) for name in ("alice", "bob", "carol")
)


@dataclass(frozen=True)
class Host:
    """One host and what it says; each field can be replaced."""

    name: str
    number: int
    iso: str = ISO
    size: int = SIZE
    iso_name: str = "silvermetal.iso"
    keyed: str | None = None
    iso9660: bool = True
    bootable: bool = True
    chunks: tuple[str, ...] | None = None
    dependencies: tuple[Dependency, ...] | None = None
    build_info: Mapping[str, str] = field(default_factory=lambda: {"RECIPE": RECIPE, "TZ": "UTC"})
    evidence_changes: Mapping[str, Any] = field(default_factory=dict)
    observation_changes: Mapping[str, Any] = field(default_factory=dict)
    entry_changes: Mapping[str, Any] = field(default_factory=dict)
    says: Mapping[str, Any] = field(default_factory=dict)
    """What the statement says otherwise than the order: build, nonce, host, worker, pins, ref, commit …"""
    signer: SigningKey | None = None
    variation: Variation | None = None
    attribution: str | None = None

    @property
    def worker(self) -> str:
        return f"worker-{self.name}"

    @property
    def key(self) -> SigningKey:
        return key_of(self.name)

    @property
    def nonce(self) -> str:
        return hex64("nonce", self.name)

    @property
    def entry(self) -> HostEntry:
        operator = OPERATORS[self.number % len(OPERATORS)].operator
        values: dict[str, Any] = {
            "host": self.name,
            "worker": self.worker,
            "public_key": self.key.public.hex,
            "operator": operator,
            "site": f"site-{self.number}",
            "dmi": hex64("dmi", self.name),
            "valid_from": "2026-01-01T00:00:00Z",
        }
        signed_by = key_of(f"operator {operator}")
        plain = HostEntry.from_plain({**values, **dict(self.entry_changes)}, what="entry")
        return plain if "operator_signature" in self.entry_changes else sign_entry(plain, signed_by)

    @property
    def evidence(self) -> HostEvidence:
        values: dict[str, Any] = {
            "machine_id": hex64("machine", self.name),
            "boot_id": hex64("boot", self.name),
            "kernel": Kernel(release="6.1.0-1", version="#1 SMP", machine="x86_64"),
            "cpu": Cpu(model="a processor", count=2),
            "virtualisation": "none",
            "dmi": hex64("dmi", self.name),
            "engine": Engine(name="docker", version="28.0", id=f"engine-{self.name}"),
            "boot_time": "2026-03-01T08:00:00Z",
            "started": "2026-03-01T12:00:10Z",
            "finished": "2026-03-01T12:09:50Z",
        }
        return HostEvidence(**{**values, **dict(self.evidence_changes)})

    @property
    def observation(self) -> Observation:
        values: dict[str, Any] = {
            "worker": self.worker,
            "peer": f"192.0.2.{self.number + 1}",
            "started": "2026-03-01T12:00:00Z",
            "finished": "2026-03-01T12:10:00Z",
        }
        return Observation(**{**values, **dict(self.observation_changes)})

    @property
    def payload(self) -> bytes:
        said = dict(self.says)
        chunks = (
            self.chunks if self.chunks is not None else tuple(hex64("chunk", i) for i in range(-(-self.size >> 22)))
        )
        statement = make_statement(
            build=said.get("build", BUILD),
            parameters=ExternalParameters(
                repository=said.get("repository", REPOSITORY),
                ref=said.get("ref", REF),
                commit=said.get("commit", COMMIT),
                recipe=said.get("recipe", RECIPE),
            ),
            internal=InternalParameters(pins=said.get("pins", PINS), build_info=dict(self.build_info)),
            dependencies=self.dependencies or (Dependency(name="commit", digest=DigestSet(git_commit=COMMIT)),),
            iso_name=self.iso_name,
            measured=Measurement(self.size, self.iso, chunks, self.keyed or hex64("keyed", self.name)),
            iso9660=self.iso9660,
            bootable=self.bootable,
            host=said.get("host", self.name),
            worker=said.get("worker", self.worker),
            evidence=self.evidence,
            nonce=said.get("nonce", self.nonce),
            variation=self.variation,
            attribution=self.attribution,
        )
        return statement.encode()

    @property
    def envelope(self) -> bytes:
        return sign(self.payload, self.signer or self.key)

    @property
    def submission(self) -> Submission:
        return Submission(self.name, self.observation, envelope=self.envelope)

    def but(self, **changes: Any) -> Host:
        """This host with some fields replaced."""
        return replace(self, **changes)

    def with_payload(self, change: Any) -> Submission:
        """A submission whose payload ``change`` altered (a function over plain JSON) before it was signed."""
        plain = canonical.decode(self.payload, limit=1 << 24)
        change(plain)
        return Submission(self.name, self.observation, envelope=sign(canonical.encode(plain), self.signer or self.key))


A, B, C = Host("host-a", 0), Host("host-b", 1), Host("host-c", 2)


def request(hosts: Sequence[Host] = (A, B), **changes: Any) -> BuildRequest:
    values: dict[str, Any] = {
        "build": BUILD,
        "repository": REPOSITORY,
        "ref": REF,
        "commit": COMMIT,
        "recipe": RECIPE,
        "pins": PINS,
        "expected_inputs": {"commit": COMMIT},
        "nonces": {host.name: host.nonce for host in hosts},
    }
    return BuildRequest(**{**values, **changes})


def case(*hosts: Host, submissions: Sequence[Submission] | None = None, **changes: Any) -> Case:
    """A case in which ``hosts`` were asked and answered, unless ``submissions`` says otherwise."""
    policy = changes.pop("policy", Policy(quorum=2, min_independence=2))
    return Case(
        request=changes.pop("request", request(hosts)),
        submissions=tuple(h.submission for h in hosts) if submissions is None else tuple(submissions),
        policy=policy,
        hosts=changes.pop("entries", tuple(h.entry for h in hosts)),
        operators=changes.pop("operators", OPERATORS),
        at=changes.pop("at", AT),
    )


def flips(data: bytes, step: int) -> Iterator[bytes]:
    """``data`` with one bit flipped: one copy each ``step`` bits, each bit of a byte in its turn."""
    for bit in range(0, len(data) * 8, step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        yield bytes(changed)
