"""Metrics in memory, and their text: Prometheus' exposition format 0.0.4, which every scraper reads.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/. Own code because prometheus-client is Apache-2.0,
which does not go with Buildbot's GPL-2.0-only in one process (ADR 0021); a test reads this text with it.

Rules:

- Bounded: a family has at most :data:`MAX_SERIES` series; a value that is none of a label's known ones is ``other``.
- A counter never goes down; a histogram's buckets are cumulative, the last one is ``+Inf``.
- No secret, no address and nothing that a stranger chose is a label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_SERIES = 400
OTHER = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (1, 5, 15, 60, 300, 900, 3600, 14400)
"""Upper ends of the buckets of what builds take."""

Labels = tuple[tuple[str, str], ...]


@dataclass
class _Bins:
    counts: list[int]
    total: float = 0.0


@dataclass
class Family:
    """One metric. ``kind`` is counter, gauge or histogram; ``known`` are the values that a label may have."""

    name: str
    kind: str
    help: str
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    buckets: Sequence[float] = SECONDS
    values: dict[Labels, float] = field(default_factory=dict)
    bins: dict[Labels, _Bins] = field(default_factory=dict)

    def _series(self, labels: Mapping[str, str], there: Mapping[Labels, object]) -> Labels:
        found = tuple((k, v if k not in self.known or v in self.known[k] else OTHER) for k, v in sorted(labels.items()))
        if found not in there and len(there) >= MAX_SERIES:
            found = tuple((k, OTHER) for k, _ in found)
        return found

    def add(self, amount: float = 1, **labels: str) -> None:
        """Count."""
        series = self._series(labels, self.values)
        self.values[series] = self.values.get(series, 0) + amount

    def set(self, value: float, **labels: str) -> None:
        """Take a gauge's value."""
        self.values[self._series(labels, self.values)] = value

    def observe(self, value: float, **labels: str) -> None:
        """Put one value into its bucket."""
        bins = self.bins.setdefault(self._series(labels, self.bins), _Bins([0] * (len(self.buckets) + 1)))
        bins.counts[bisect_left(self.buckets, value)] += 1
        bins.total += value

    def lines(self) -> Iterable[str]:
        """The family's text."""
        yield f"# HELP {self.name} {_escape(self.help, quote=False)}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in sorted(self.values.items()):
            yield f"{self.name}{_braces(labels)} {_number(value)}"
        for labels, bins in sorted(self.bins.items()):
            count = 0
            for end, more in zip((*map(_number, self.buckets), "+Inf"), bins.counts, strict=True):
                count += more
                yield f"{self.name}_bucket{_braces((*labels, ('le', end)))} {count}"
            yield f"{self.name}_sum{_braces(labels)} {_number(bins.total)}"
            yield f"{self.name}_count{_braces(labels)} {count}"


def text_of(families: Iterable[Family]) -> str:
    """All families as one answer."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escape(text: str, *, quote: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _braces(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escape(value, quote=True)}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""
