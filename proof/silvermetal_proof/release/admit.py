"""Whether a stored verdict may be published: the decision of the builder ``publish``, before it does anything.

Rules (H4: any call may start the builder, with any property):

- The verdict is the master's by its signature, REPRODUCED, decided under a release's policy, about a tag.
- It is about exactly this build, ref and commit, its statements are there with the digests that it names, and decided
  again from them it is the same.
- What policy asks for *now* counts too: a verdict from a time of a lower quorum or level is not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import ProofError
from silvermetal_proof.host import HostEntry
from silvermetal_proof.statement import PublicKey, Statement
from silvermetal_proof.statement import verify as verify_envelope
from silvermetal_proof.verdict import Verdict, verify_verdict
from silvermetal_proof.verdict.again import contradiction


class NotAdmittedError(ProofError):
    """This verdict is not published."""


@dataclass(frozen=True)
class Wanted:
    """What is to be published, and what policy asks for now."""

    build: str
    ref: str
    commit: str
    quorum: int
    min_independence: int


def admit(
    envelope: bytes,
    statements: Mapping[str, bytes],
    *,
    key: PublicKey,
    hosts: tuple[HostEntry, ...],
    wanted: Wanted,
) -> tuple[Verdict, dict[str, Statement]]:
    """Return the verdict and its statements. :raises ProofError: when it must not be published, with the reason."""
    verdict = verify_verdict(envelope, key).verdict
    for name, expected, got in (
        ("outcome", "REPRODUCED", str(verdict.outcome)),
        ("build", wanted.build, verdict.build),
        ("ref", wanted.ref, verdict.ref),
        ("commit", wanted.commit, verdict.commit),
        ("kind", "a tag's verdict", "a tag's verdict" if verdict.ref.startswith("refs/tags/") else verdict.ref),
        ("policy", "a release's", "a release's" if verdict.policy.release else "a development build's"),
    ):
        if expected != got:
            raise NotAdmittedError(f"verdict: {name}", expected=expected, got=got)
    entries = {h.host: h for h in hosts}
    found: dict[str, Statement] = {}
    signed: dict[str, tuple[Statement, bytes]] = {}
    for result in verdict.hosts:
        if not result.valid:
            continue
        data, entry = statements.get(result.host), entries.get(result.host)
        if data is None or sha256(data) != result.statement:
            raise NotAdmittedError(
                f"statement of {result.host}", expected=result.statement, got="none" if data is None else sha256(data)
            )
        if entry is None:
            raise NotAdmittedError(f"statement of {result.host}", expected="an enrolled host", got="none")
        entry.check_valid_at(verdict.decided)
        statement = Statement.read(verify_envelope(data, entry.key, what=f"statement of {result.host}"))
        if statement.iso_sha256 != verdict.iso_sha256:
            raise NotAdmittedError(f"statement of {result.host}", expected=verdict.iso_sha256, got=statement.iso_sha256)
        found[result.host] = statement
        signed[result.host] = (statement, data)
    if len(found) < max(2, wanted.quorum, verdict.policy.quorum):
        raise NotAdmittedError("verdict: hosts", expected=f"at least {wanted.quorum}", got=len(found))
    if verdict.level < wanted.min_independence:
        raise NotAdmittedError(
            "verdict: independence", expected=f"at least I{wanted.min_independence}", got=f"I{verdict.level}"
        )
    if (why := contradiction(verdict, signed, hosts)) is not None:
        raise NotAdmittedError(f"verdict: {why}")
    return verdict, found
