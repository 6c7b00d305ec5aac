"""Every byte has a name.

Rules:
- Readers claim; a deeper claim (a layer within a file) wins over a shallower one, among equals the earlier one.
- What nobody claimed is a region too: `zeros` or `unknown`. The regions are disjoint, in order, and cover the file.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol


class _Readable(Protocol):
    size: int

    def read(self, offset: int, length: int) -> bytes: ...


class Claim(NamedTuple):
    """Somebody says what these bytes are; offsets count from the start of the claimer's layer."""

    start: int
    length: int
    name: str
    depth: int = 0


class Region(NamedTuple):
    """Bytes that belong together; disjoint from every other region."""

    start: int
    length: int
    name: str


def resolve(claims: Iterable[Claim], size: int) -> list[Region]:
    """Disjoint regions in order over 0..size; what no claim covers is named `unclaimed`."""
    ordered = sorted(
        (max(0, c.start), -c.depth, number, min(size, c.start + c.length), c.name)
        for number, c in enumerate(claims)
        if c.length > 0 and c.start < size and c.start + c.length > 0
    )
    regions: list[Region] = []
    active: list[tuple[int, int, int, str]] = []  # best first: -depth, number, end, name
    at, index = 0, 0
    while at < size:
        while index < len(ordered) and ordered[index][0] <= at:
            _, depth, number, end, name = ordered[index]
            heapq.heappush(active, (depth, number, end, name))
            index += 1
        while active and active[0][2] <= at:
            heapq.heappop(active)
        upcoming = ordered[index][0] if index < len(ordered) else size
        end, name = (min(active[0][2], upcoming), active[0][3]) if active else (upcoming, "unclaimed")
        if regions and regions[-1].name == name and regions[-1].start + regions[-1].length == at:
            regions[-1] = Region(regions[-1].start, end - regions[-1].start, name)
        else:
            regions.append(Region(at, end - at, name))
        at = end
    return regions


def named(regions: Iterable[Region], source: _Readable) -> Iterator[Region]:
    """The same regions with unclaimed bytes looked at: zeros are padding, the rest is honestly unknown."""
    for region in regions:
        if region.name != "unclaimed":
            yield region
            continue
        zeros = all(not chunk.strip(b"\0") for chunk in _pieces(source, region))
        yield region._replace(name="padding (zeros)" if zeros else "unknown")


def _pieces(source: _Readable, region: Region) -> Iterator[bytes]:
    at, end = region.start, region.start + region.length
    while at < end:
        take = min(1 << 20, end - at)
        yield source.read(at, take)
        at += take
