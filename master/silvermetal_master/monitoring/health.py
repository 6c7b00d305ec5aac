"""Is this master fit to be asked? A pure judgement over what was looked at.

Rules:

- A problem means: send nobody here (503). A warning means: it works, and somebody should look (200).
- Hosts that are away are a warning: the master answers, and a verification ends by its deadline.
- What is said names no secret, no address and no path of the machine: anybody may read it.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_FREE_BYTES = 256 * 1024 * 1024
WARN_DAYS = 21


@dataclass(frozen=True)
class Seen:
    """What was looked at. ``ends`` are days until certificates end, by name."""

    database: bool
    stopping: bool
    disk_free: int
    ledger_holds: bool
    connected: int
    quorum: int
    ends: dict[str, int]


@dataclass(frozen=True)
class Health:
    """The judgement."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the master may be asked."""
        return not self.problems


def judge(seen: Seen) -> Health:
    """Return what is wrong, worst first."""
    problems, warnings = [], []
    if not seen.database:
        problems.append("database: expected an answer, got none")
    if seen.stopping:
        problems.append("the master is stopping")
    if seen.disk_free < MIN_FREE_BYTES:
        problems.append(f"disk: expected {MIN_FREE_BYTES} bytes free, got {seen.disk_free}")
    if not seen.ledger_holds:
        problems.append("ledger: it cannot be read, written or trusted; the master's log says why")
    if seen.connected < seen.quorum:
        warnings.append(f"hosts: expected {seen.quorum} connected, got {seen.connected}")
    for name, days in sorted(seen.ends.items()):
        if days < WARN_DAYS:
            warnings.append(f"certificate of {name}: expected {WARN_DAYS} days or more, got {days}")
    return Health(tuple(problems), tuple(warnings))
