"""Deciding again: what anybody can check of a verdict by its statements, without believing the master.

Rules:

- The same function decides over the same statements; what only the master saw is taken from its verdict (peers) or left
  out (when it saw each build, which nonce and which resolved inputs it asked for).
- So it can refuse what the statements contradict (drift, dissent, one key or kernel for two hosts), and confirm up to
  I2, with the operators' keys up to I4; that a host was asked and left out of the verdict, it cannot see.
"""

from __future__ import annotations

from collections.abc import Mapping

from silvermetal_proof.host.enrolment import HostEntry, Operator
from silvermetal_proof.host.evidence import Observation
from silvermetal_proof.host.independence import Level
from silvermetal_proof.statement.schema import Statement
from silvermetal_proof.verdict.decide import decide
from silvermetal_proof.verdict.records import BuildRequest, Case, HostResult, Outcome, Submission, Verdict

CONFIRMED = Level.I2
"""The best level that statements and entries show without the operators' keys."""


def contradiction(
    verdict: Verdict,
    statements: Mapping[str, tuple[Statement, bytes]],
    entries: tuple[HostEntry, ...],
    operators: tuple[Operator, ...] = (),
    confirmed: Level = CONFIRMED,
) -> str | None:
    """Why a verdict of REPRODUCED cannot come from these statements (with their envelopes); None when it can.

    Its level is confirmed up to ``confirmed``: above I2 only the ``operators`` can.
    """
    nonces = {host: statement.predicate.nonce for host, (statement, _) in statements.items()}
    if len(set(nonces.values())) < len(nonces):
        return "expected a nonce of its own for each host, got one twice"
    if verdict.level < verdict.policy.min_independence:
        return f"expected at least I{verdict.policy.min_independence}, which its policy asks for, got I{verdict.level}"
    claimed = min(verdict.level, confirmed)
    case = Case(
        request=BuildRequest(
            build=verdict.build,
            repository=verdict.repository,
            ref=verdict.ref,
            commit=verdict.commit,
            recipe=verdict.recipe,
            pins=verdict.pins,
            expected_inputs={"commit": verdict.commit},
            nonces=nonces,
            tag=verdict.tag,
            variations={h: s.predicate.variation for h, (s, _) in statements.items() if s.predicate.variation},
        ),
        submissions=tuple(_submission(result, statements) for result in verdict.hosts),
        policy=verdict.policy.model_copy(update={"min_independence": max(1, claimed)}),
        hosts=entries,
        operators=operators,
        at=verdict.decided,
    )
    again = decide(case)
    if again.outcome is Outcome.REPRODUCED:
        return None
    return "; ".join((f"decided again by its statements it is {again.outcome}: {again.summary}", *again.reasons[:3]))


def _submission(result: HostResult, statements: Mapping[str, tuple[Statement, bytes]]) -> Submission:
    found = statements.get(result.host)
    if found is None or not result.valid:
        problem = result.problem or "no statement"
        if result.answered:
            return Submission(result.host, None, broken=problem)
        return Submission(result.host, None, problem=problem)
    observation = Observation(
        worker=result.worker or "unknown",
        peer=result.peer,
        # The master's own times are not in the verdict: one interval for all says nothing for or against.
        started=min(s.predicate.evidence.started for s, _ in statements.values()),
        finished=max(s.predicate.evidence.finished for s, _ in statements.values()),
    )
    return Submission(result.host, observation, envelope=found[1])
