"""Which derived files may go: a plan, made from a list, that never names what proves anything.

Rules:

- Only what can be made again or is a convenience is ever named: explanations, manifests, excerpts, a release's ISO.
  Verdicts, statements, requests, pins, locks, signed lists, the ledger are not, whatever is asked.
- First what is older than the age; then the oldest until the rest is within the size. Of one age, by name.
- Nothing of a build that is not recorded yet, and nothing younger than :data:`YOUNG_SECONDS`: somebody may be using it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

YOUNG_SECONDS = 3600
_DERIVED = re.compile(
    r"\Abuilds/(?P<build>[0-9a-f]{32})/(?:difference\.(?:json|html)|(?:manifests|excerpts)/[a-z0-9][a-z0-9._-]{0,63}\.json\.gz|"
    r"release/[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.iso)\Z"
)


@dataclass(frozen=True)
class Kept:
    """One file: its path below the records, its size in bytes, its age in seconds."""

    path: str
    size: int
    age: float


def is_derived(path: str) -> bool:
    """Whether a file of the records is one that may go."""
    return _DERIVED.match(path) is not None


def plan(files: Iterable[Kept], *, max_age: float, max_bytes: int, unfinished: Collection[str] = ()) -> tuple[str, ...]:
    """The paths that are to go, the oldest first. ``max_age`` is in seconds; ``unfinished`` are builds' ids."""
    derived = [(f, match["build"]) for f in files if (match := _DERIVED.match(f.path))]
    by_age = sorted(derived, key=lambda d: (-d[0].age, d[0].path))
    total = sum(f.size for f, _ in by_age)
    gone = []
    for file, build in by_age:
        if build in unfinished or file.age < YOUNG_SECONDS:
            continue
        if file.age > max_age or total > max_bytes:
            gone.append(file.path)
            total -= file.size
    return tuple(gone)
