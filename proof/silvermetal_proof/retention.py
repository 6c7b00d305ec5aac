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
    derived = {f: match["build"] for f in files if (match := _DERIVED.match(f.path))}
    stays = {f.path for f, build in derived.items() if build in unfinished or f.age < YOUNG_SECONDS}
    return beyond(derived, max_age=max_age, max_bytes=max_bytes, stays=stays)


def beyond(files: Iterable[Kept], *, max_age: float, max_bytes: int, stays: Collection[str] = ()) -> tuple[str, ...]:
    """What of ``files`` is beyond age and size, the oldest first; of ``stays`` nothing. No look at what they are."""
    by_age = sorted(files, key=lambda f: (-f.age, f.path))
    total = sum(f.size for f in by_age)
    gone = []
    for file in by_age:
        if file.path not in stays and (file.age > max_age or total > max_bytes):
            gone.append(file.path)
            total -= file.size
    return tuple(gone)
