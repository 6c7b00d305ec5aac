"""How far apart two build hosts are: the level that the evidence reaches, and why it reaches no further.

Rules:

- Total: any evidence gives a level; nothing raises.
- The level of a pair is the lowest at which a check fails; each failed check is a reason with got and expected.
- The level of a set of hosts is that of the best ``quorum``-sized subset, and of a subset that of its weakest pair.
- Levels are the design's: I1 identities, I2 kernels, I3 machines, I4 operators. The product never says a better one
  than it measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from itertools import combinations

from silvermetal_proof.host.enrolment import HostEntry, Operator, operator_signed
from silvermetal_proof.host.evidence import HostEvidence, Observation
from silvermetal_proof.model import parse_time

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far a host's clock may be from the master's before its times contradict what the master saw."""


class Level(IntEnum):
    """Independence levels; each includes those below it."""

    I0 = 0
    I1 = 1
    I2 = 2
    I3 = 3
    I4 = 4

    @property
    def meaning(self) -> str:
        """The level's name for people."""
        return ("unproven", "distinct identities", "distinct kernels", "distinct machines", "distinct operators")[self]


@dataclass(frozen=True)
class Party:
    """One host that takes part: its enrolment, its own evidence, and what the master saw."""

    entry: HostEntry
    evidence: HostEvidence | None
    observation: Observation


@dataclass(frozen=True)
class Independence:
    """A level, and the reasons why it is not the next one."""

    level: Level
    reasons: tuple[str, ...]
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Failed:
    """A check that failed: the best level that is still possible, and why."""

    at_most: Level
    reason: str


def _contradictions(party: Party) -> Iterator[_Failed]:
    """Evidence that cannot be true in the light of what the master saw, or of itself."""
    host, evidence, seen = party.entry.host, party.evidence, party.observation
    if evidence is None:
        yield _Failed(Level.I0, f"{host} gave no evidence of its machine")
        return
    if seen.worker != party.entry.worker:
        yield _Failed(Level.I0, f"{host}: expected worker {party.entry.worker}, the master saw {seen.worker}")
    if evidence.started > evidence.finished:
        yield _Failed(Level.I0, f"{host} says it finished ({evidence.finished}) before it started ({evidence.started})")
    if evidence.boot_time > evidence.started:
        yield _Failed(
            Level.I0, f"{host} says it booted ({evidence.boot_time}) after the build began ({evidence.started})"
        )
    early = parse_time(seen.started) - CLOCK_TOLERANCE
    late = parse_time(seen.finished) + CLOCK_TOLERANCE
    if parse_time(evidence.started) < early or parse_time(evidence.finished) > late:
        yield _Failed(
            Level.I0,
            f"{host}: its clock contradicts the master's: expected a build within {seen.started} to {seen.finished} "
            f"(± {int(CLOCK_TOLERANCE.total_seconds())} s), got {evidence.started} to {evidence.finished}",
        )


def _identities(a: Party, b: Party, one: HostEvidence, two: HostEvidence) -> Iterator[_Failed]:
    """What I1 asks for."""
    pair = f"{a.entry.host} and {b.entry.host}"
    if a.entry.host == b.entry.host or a.entry.worker == b.entry.worker:
        yield _Failed(Level.I0, f"{pair} are one enrolment")
    if a.entry.public_key == b.entry.public_key:
        yield _Failed(Level.I0, f"{pair} signed with one key ({a.entry.key.keyid[:16]}…): expected a key each")
    if one.machine_id == two.machine_id:
        yield _Failed(Level.I0, f"{pair} report one machine-id ({one.machine_id[:16]}…): expected two (cloned image?)")


def _kernels(a: Party, b: Party, one: HostEvidence, two: HostEvidence) -> Iterator[_Failed]:
    """What I2 asks for beyond I1."""
    pair = f"{a.entry.host} and {b.entry.host}"
    if one.boot_id == two.boot_id:
        yield _Failed(Level.I1, f"{pair} run on one kernel: boot-id {one.boot_id[:16]}… on both, expected two")
    if one.engine.id and one.engine.id == two.engine.id:
        yield _Failed(Level.I1, f"{pair} report one container engine id ({one.engine.id[:16]}…): expected two")
    if a.observation.peer is None or b.observation.peer is None:
        yield _Failed(Level.I1, f"{pair}: the master saw no peer address of one of them")
    elif a.observation.peer == b.observation.peer:
        yield _Failed(Level.I1, f"{pair} connect from one address ({a.observation.peer}): expected two")
    # Overlap, because one machine that reboots between two builds has two boot-ids.
    if max(a.observation.started, b.observation.started) > min(a.observation.finished, b.observation.finished):
        yield _Failed(Level.I1, f"{pair} did not build at the same time: one machine may have been both")


def _machines(
    a: Party, b: Party, one: HostEvidence, two: HostEvidence, operators: tuple[Operator, ...]
) -> Iterator[_Failed]:
    """What I3 asks for beyond I2: hardware that an operator vouches for."""
    for party, evidence in ((a, one), (b, two)):
        unsigned = operator_signed(party.entry, operators)
        if unsigned is not None:
            yield _Failed(Level.I2, unsigned)
        elif party.entry.dmi is None:
            yield _Failed(Level.I2, f"entry of host {party.entry.host} names no hardware (dmi)")
        elif evidence.dmi != party.entry.dmi:
            got = "none" if evidence.dmi is None else f"{evidence.dmi[:16]}…"
            yield _Failed(
                Level.I2,
                f"{party.entry.host} is not the enrolled hardware: expected {party.entry.dmi[:16]}…, got {got}",
            )
    if one.dmi is not None and one.dmi == two.dmi:
        yield _Failed(Level.I2, f"{a.entry.host} and {b.entry.host} report one hardware identity")


def _operators(a: Party, b: Party, operators: tuple[Operator, ...]) -> Iterator[_Failed]:
    """What I4 asks for beyond I3."""
    keys = {o.operator: o.public_key for o in operators}
    if a.entry.operator == b.entry.operator or keys.get(a.entry.operator) == keys.get(b.entry.operator):
        yield _Failed(
            Level.I3, f"{a.entry.host} and {b.entry.host} are vouched for by one operator ({a.entry.operator})"
        )
    if a.entry.site == b.entry.site:
        yield _Failed(Level.I3, f"{a.entry.host} and {b.entry.host} stand at one site ({a.entry.site})")


def _pair(a: Party, b: Party, operators: tuple[Operator, ...]) -> list[_Failed]:
    failed = [*_contradictions(a), *_contradictions(b)]
    if a.evidence is not None and b.evidence is not None:
        one, two = a.evidence, b.evidence
        failed += _identities(a, b, one, two)
        failed += _kernels(a, b, one, two)
        failed += _machines(a, b, one, two, operators)
        failed += _operators(a, b, operators)
    return failed


def _of_set(parties: Sequence[Party], operators: tuple[Operator, ...]) -> Independence:
    failed = [f for a, b in combinations(parties, 2) for f in _pair(a, b, operators)]
    level = min((f.at_most for f in failed), default=Level.I4)
    reasons = tuple(dict.fromkeys(f.reason for f in failed if f.at_most == level))
    return Independence(level, reasons, tuple(p.entry.host for p in parties))


def independence(parties: Sequence[Party], quorum: int, operators: tuple[Operator, ...] = ()) -> Independence:
    """Return the level that the best ``quorum`` of ``parties`` reach together.

    With fewer parties than ``quorum`` or than two, the level is I0: one host proves nothing.
    """
    size = max(quorum, 2)
    if len(parties) < size:
        return Independence(Level.I0, (f"expected at least {size} hosts, got {len(parties)}",))
    return max((_of_set(subset, operators) for subset in combinations(parties, size)), key=lambda found: found.level)
