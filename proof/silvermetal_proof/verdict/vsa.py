"""The signed verdict: SLSA Verification Summary Attestation v1 in a DSSE envelope.

Source: https://slsa.dev/spec/v1.0/verification_summary. ``verifiedLevels`` carries the outcome and the independence
level as vendor levels; the whole verdict is an extension field, so that nothing about it is said outside the signature.

Rules:

- Every outcome is signed, failures too. Only REPRODUCED has ``verificationResult`` PASSED.
- The subject is what was judged: each claimed ISO, or the commit when no host gave a valid statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.model import Line, Record, Sha256, Time
from silvermetal_proof.statement.dsse import sign, verify
from silvermetal_proof.statement.keys import PublicKey, SigningKey
from silvermetal_proof.statement.schema import DigestSet
from silvermetal_proof.verdict.records import Outcome, Verdict

MAX_VERDICT_BYTES = 4 * 1024 * 1024


class _Subject(Record):
    name: Line
    digest: DigestSet


class _Verifier(Record):
    id: Line


class _Reference(Record):
    uri: Line
    digest: DigestSet


class _Predicate(Record):
    verifier: _Verifier
    time_verified: Annotated[Time, Field(alias="timeVerified")]
    resource_uri: Annotated[Line, Field(alias="resourceUri")]
    policy: _Reference
    input_attestations: Annotated[tuple[_Reference, ...], Field(alias="inputAttestations")]
    verification_result: Annotated[Literal["PASSED", "FAILED"], Field(alias="verificationResult")]
    verified_levels: Annotated[tuple[Line, ...], Field(alias="verifiedLevels")]
    slsa_version: Annotated[Literal["1.0"], Field(alias="slsaVersion")]
    verdict: Annotated[Verdict, Field(alias="silvermetal_verdict")]


class _Summary(Record):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1)]
    predicate_type: Annotated[Literal["https://slsa.dev/verification_summary/v1"], Field(alias="predicateType")]
    predicate: _Predicate


@dataclass(frozen=True)
class VerifiedVerdict:
    """A verdict whose signature held, with the digest of its envelope."""

    verdict: Verdict
    digest: Sha256


def _subjects(verdict: Verdict) -> tuple[_Subject, ...]:
    claimed = {h.iso_sha256: h.iso for h in verdict.hosts if h.valid and h.iso_sha256 and h.iso}
    if claimed:
        return tuple(_Subject(name=name, digest=DigestSet(sha256=d)) for d, name in sorted(claimed.items()))
    return (_Subject(name=f"{verdict.repository}@{verdict.ref}", digest=DigestSet(git_commit=verdict.commit)),)


def _summary(verdict: Verdict, verifier: str) -> _Summary:
    policy = verdict.policy.encode()
    return _Summary(
        type="https://in-toto.io/Statement/v1",
        subject=_subjects(verdict),
        predicate_type="https://slsa.dev/verification_summary/v1",
        predicate=_Predicate(
            verifier=_Verifier(id=verifier),
            time_verified=verdict.decided,
            resource_uri=f"{verdict.repository}@{verdict.ref}"[:1024],
            policy=_Reference(uri="urn:silvermetal:policy:v1", digest=DigestSet(sha256=sha256(policy)[7:])),
            input_attestations=tuple(
                _Reference(uri=f"urn:silvermetal:statement:{h.host}", digest=DigestSet(sha256=h.statement[7:]))
                for h in verdict.hosts
                if h.statement is not None
            ),
            verification_result="PASSED" if verdict.passed else "FAILED",
            verified_levels=(f"SILVERMETAL_{verdict.outcome}", f"SILVERMETAL_I{verdict.level}"),
            slsa_version="1.0",
            verdict=verdict,
        ),
    )


def sign_verdict(verdict: Verdict, key: SigningKey, verifier: str) -> bytes:
    """Return the envelope of the signed verdict. ``verifier`` is the master's id, a URI."""
    return sign(_summary(verdict, verifier).encode(), key)


def verify_verdict(envelope: bytes, key: PublicKey) -> VerifiedVerdict:
    """Check the master's signature and that the summary says what the verdict inside says.

    :raises SignatureError: when the signature does not hold. :raises MalformedError: when it contradicts itself.
    """
    return VerifiedVerdict(read_summary(verify(envelope, key, what="verdict")), sha256(envelope))


def read_summary(payload: bytes) -> Verdict:
    """The verdict in a summary whose signature is not looked at. :raises MalformedError: when it contradicts itself."""
    summary = _Summary.parse(payload, limit=MAX_VERDICT_BYTES, what="verdict")
    verdict = summary.predicate.verdict
    expected = _summary(verdict, summary.predicate.verifier.id)
    if expected != summary:
        raise MalformedError(
            "verdict contradicts its own summary", expected=expected.predicate.verified_levels, got="others"
        )
    if verdict.passed and verdict.iso_sha256 is None:
        raise MalformedError(
            f"verdict says {Outcome.REPRODUCED} without one agreed digest", expected="one digest", got="none or several"
        )
    return verdict
