"""The catalogue: which difference has which cause and which remedy, kept as data beside this file.

Rules:
- An entry matches when all of its patterns do; the lowest rank wins, so the specific stands before the general.
- Unknown keys and broken patterns are errors at load: a typo in the catalogue must not silently match nothing.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Protocol

PATTERNS = ("layer", "path", "format", "what", "shape", "kind", "values", "text")


class _Difference(Protocol):
    layer_path: str
    path: str
    format: str
    what: str
    shape: str
    kind: str
    a: str
    b: str
    evidence: list[str]


@dataclass(frozen=True)
class Cause:
    """One entry of the catalogue."""

    id: str
    title: str
    cause: str
    remedy: str
    source: str
    rank: int
    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def matches(self, d: _Difference) -> bool:
        """Whether every pattern finds its text."""
        texts = {
            "layer": d.layer_path,
            "path": d.path,
            "format": d.format,
            "what": d.what,
            "shape": d.shape,
            "kind": d.kind,
            "values": f"{d.a}\n{d.b}",
            "text": "\n".join(d.evidence),
        }
        return all(pattern.search(texts[name]) for name, pattern in self.patterns)


@cache
def catalogue() -> tuple[Cause, ...]:
    """All entries, most specific first."""
    found: list[Cause] = []
    for file in sorted(resources.files(__name__).iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("cause", []):
                found.append(_entry(file.name, entry))
    names = [c.id for c in found]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f"causes: got {sorted(twice)} twice, expected each id once")
    return tuple(sorted(found, key=lambda c: c.rank))


def _entry(file: str, entry: dict[str, object]) -> Cause:
    match = entry.get("match")
    known = {"id", "title", "cause", "remedy", "source", "rank", "match"}
    if not isinstance(match, dict) or not match or set(match) - set(PATTERNS) or set(entry) - known:
        raise ValueError(f"{file}: got {entry}, expected keys {sorted(known)} and a match of {PATTERNS}")
    texts = {k: str(entry[k]) for k in ("id", "title", "cause", "remedy", "source")}
    rank = entry.get("rank", 50)
    patterns = tuple((str(k), re.compile(str(v), re.MULTILINE)) for k, v in match.items())
    return Cause(**texts, rank=int(str(rank)), patterns=patterns)


def cause_of(difference: _Difference) -> Cause | None:
    """The first entry that matches."""
    return next((c for c in catalogue() if c.matches(difference)), None)
