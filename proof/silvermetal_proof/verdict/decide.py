"""The decision: a total function over statements, policy and pins. The first rule that holds is the outcome.

Rules:

- INVALID before INCOMPLETE before INPUT_DRIFT before DIVERGED before NOT_INDEPENDENT before REPRODUCED.
- A majority never makes a pass: any valid dissent is DIVERGED; with a majority the odd one out is named.
- A host counts once, however often it answers; two different answers of one host are INVALID.
- Builds that were made to explain a divergence are evidence for that alone: their only verdict is INVALID.
- Nothing is counted that was not examined; a green build without a statement is an absent host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from silvermetal_proof import canonical
from silvermetal_proof.digest import CHUNK_SIZE
from silvermetal_proof.errors import printable
from silvermetal_proof.host.independence import Level, Party, independence
from silvermetal_proof.statement.schema import Statement
from silvermetal_proof.verdict.drift import Drift, drift
from silvermetal_proof.verdict.examine import Examined, examine
from silvermetal_proof.verdict.records import (
    Case,
    DriftedInput,
    HostResult,
    Outcome,
    Submission,
    Verdict,
)

MAX_DRIFT_SHOWN = 200
MAX_DRIFT_BYTES = 512 * 1024
"""What drift may add to a verdict, so that no host can make one too large to be signed and recorded."""


@dataclass(frozen=True)
class _Finding:
    outcome: Outcome
    summary: str
    reasons: tuple[str, ...] = ()
    level: Level = Level.I0
    drifted: tuple[DriftedInput, ...] = ()
    odd_one_out: str | None = None
    ours: bool = False


def decide(case: Case) -> Verdict:
    """Return the verdict over ``case``; never raises for anything that workers can send."""
    examined = [examine(case, submission) for submission in _once_each(case.submissions)]
    finding = _find(case, examined)
    request = case.request
    return Verdict(
        outcome=finding.outcome,
        level=int(finding.level),
        summary=printable(finding.summary, 2000),
        reasons=tuple(printable(r, 2000) for r in finding.reasons),
        build=request.build,
        repository=request.repository,
        ref=request.ref,
        commit=request.commit,
        recipe=request.recipe,
        pins=request.pins,
        tag=request.tag,
        policy=case.policy,
        hosts=tuple(e.result for e in examined),
        drift=finding.drifted,
        odd_one_out=finding.odd_one_out,
        ours=finding.ours,
        decided=case.at,
    )


def _once_each(submissions: Sequence[Submission]) -> list[Submission]:
    """One submission a host: equal answers count once, an answer beats silence, unequal answers are a problem."""
    kept: dict[str, Submission] = {}
    for submission in submissions:
        before = kept.get(submission.host)
        if before is None or (before.envelope is None and before.broken is None):
            kept[submission.host] = submission
        elif (submission.envelope is not None and submission.envelope != before.envelope) or (
            submission.broken is not None and before.broken is None
        ):
            kept[submission.host] = Submission(
                submission.host, before.observation, broken="expected one answer, got two that differ"
            )
    return [kept[host] for host in sorted(kept)]


def _find(case: Case, examined: list[Examined]) -> _Finding:
    valid = [e for e in examined if e.statement is not None]
    return (
        _not_for_a_verdict(case)
        or _invalid(examined)
        or _incomplete(case, examined, len(valid))
        or _input_drift(case, valid)
        or _diverged(valid)
        or _independent(case, valid)
    )


def _not_for_a_verdict(case: Case) -> _Finding | None:
    if case.request.attribution is None:
        return None
    return _Finding(
        Outcome.INVALID,
        f"these builds were made to explain build {case.request.attribution}: expected builds made for a verdict",
    )


def _invalid(examined: list[Examined]) -> _Finding | None:
    bad = [e.result for e in examined if e.result.answered and not e.result.valid]
    if not bad:
        return None
    return _Finding(
        Outcome.INVALID,
        f"the answer of {_names(bad)} does not hold",
        tuple(f"{r.host}: {r.problem}" for r in bad),
    )


def _incomplete(case: Case, examined: list[Examined], valid: int) -> _Finding | None:
    if valid >= case.policy.quorum:
        return None
    absent = [e for e in examined if not e.result.answered]
    return _Finding(
        Outcome.INCOMPLETE,
        f"expected {case.policy.quorum} valid statements before the deadline, got {valid}",
        tuple(f"{e.result.host}: {e.result.problem}" for e in absent),
        ours=bool(absent) and all(e.ours for e in absent),
    )


def _input_drift(case: Case, valid: list[Examined]) -> _Finding | None:
    found = drift({e.result.host: e.statement for e in valid if e.statement is not None}, case.request.expected_inputs)
    if not found:
        return None
    names = ", ".join(d.name for d in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    shown = _bounded(found)
    return _Finding(
        Outcome.INPUT_DRIFT,
        f"the hosts built from different inputs: {names}",
        tuple(
            f"{d.name}: "
            + (f"expected {d.expected}; " if d.expected is not None else "")
            + ", ".join(f"{host} has {value}" for host, value in d.values.items())
            for d in shown
        ),
        drifted=tuple(DriftedInput(name=d.name, expected=d.expected, values=dict(d.values)) for d in shown),
    )


def _bounded(found: Sequence[Drift]) -> list[Drift]:
    """The first drifted inputs, as many as a verdict has room for."""
    shown: list[Drift] = []
    size = 0
    for item in found[:MAX_DRIFT_SHOWN]:
        size += len(canonical.encode([item.name, item.expected, dict(item.values)]))
        if size > MAX_DRIFT_BYTES and shown:
            break
        shown.append(item)
    return shown


def _diverged(valid: list[Examined]) -> _Finding | None:
    results = [e.result for e in valid]
    counts = Counter(r.iso_sha256 for r in results)
    # One digest with two sizes or other chunks cannot be: somebody did not look at the bytes that it signs.
    same_parts = len({(r.size, s.predicate.artefact.chunks) for r, s in zip(results, _statements(valid), strict=True)})
    if len(counts) == 1 and same_parts == 1:
        return None
    (most, votes), *_ = counts.most_common()
    odd = [r for r in results if r.iso_sha256 != most]
    odd_one_out = odd[0].host if votes > 1 and len(odd) == 1 else None
    reasons = [f"{r.host}: sha256:{r.iso_sha256}, {r.size} bytes" for r in results]
    reasons += [line for line in _chunk_reasons(valid) if line]
    if odd_one_out is not None:
        reasons.append(f"{odd_one_out} is the odd one out: {votes} other hosts agree with one another")
    return _Finding(
        Outcome.DIVERGED,
        f"same inputs, different bytes: {len(counts)} different ISOs from {len(results)} hosts"
        if len(counts) > 1
        else f"{_names(results)} name one digest with sizes or chunks that differ: one of them did not hash its ISO",
        tuple(reasons),
        odd_one_out=odd_one_out,
    )


def _statements(valid: list[Examined]) -> list[Statement]:
    return [e.statement for e in valid if e.statement is not None]


def _chunk_reasons(valid: list[Examined]) -> list[str]:
    """Where the first two unequal images begin to differ, by their chunk digests."""
    first = valid[0].statement
    other = next((e.statement for e in valid if e.result.iso_sha256 != valid[0].result.iso_sha256), None)
    if first is None or other is None:
        return []
    a, b = first.predicate.artefact.chunks, other.predicate.artefact.chunks
    unequal = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    if not unequal:
        return []
    mib = CHUNK_SIZE // 2**20
    return [f"{len(unequal)} of {max(len(a), len(b))} chunks differ, the first at {unequal[0] * mib} MiB"]


def _independent(case: Case, valid: list[Examined]) -> _Finding:
    parties = [
        Party(e.entry, e.statement.predicate.evidence, e.observation)
        for e in valid
        if e.entry is not None and e.statement is not None and e.observation is not None
    ]
    found = independence(parties, case.policy.quorum, case.operators)
    hosts = _names([e.result for e in valid])
    if found.level < case.policy.min_independence:
        asked = Level(case.policy.min_independence)
        return _Finding(
            Outcome.NOT_INDEPENDENT,
            f"{hosts} built the same bytes, but their independence is proven to {found.level.name} "
            f"({found.level.meaning}) only; policy asks for {asked.name} ({asked.meaning})",
            found.reasons,
            level=found.level,
        )
    return _Finding(
        Outcome.REPRODUCED,
        f"{hosts} built the same bytes; independence {found.level.name} ({found.level.meaning})",
        tuple(f"not {Level(found.level + 1).name}: {r}" for r in found.reasons) if found.level < Level.I4 else (),
        level=found.level,
    )


def _names(results: Sequence[HostResult]) -> str:
    return ", ".join(r.host for r in results)
