"""The map of a whole image, with the insides of its layers.

Rules:
- A layer within a file is mapped where its bytes lie in the image as they are; a decompressed one has no bytes there.
- The regions are disjoint and cover the file, whatever the readers claimed.
"""

from __future__ import annotations

from .image.iso9660 import Iso
from .image.layer import ARROW, Layer
from .image.opening import inside
from .image.source import Window
from .regions import Claim, Region, named, resolve


def full_map(iso: Iso) -> list[Region]:
    """Regions of the image and of every layer that lies in it uncompressed."""
    claims = [*iso.claims, *(c for tree in iso.trees for c in tree.claims)]
    for outer in (iso, *iso.trees):
        for entry in outer.entries.values():
            child = inside(outer, entry)
            if child is not None:
                claims.extend(_lifted(child, 10))
    return list(named(resolve(claims, iso.source.size), iso.source))


def _lifted(layer: Layer, depth: int) -> list[Claim]:
    """A layer's claims, counted from the image's start, kept within the layer."""
    if not isinstance(layer.source, Window):
        return []
    start, size = layer.source.start, layer.source.size
    found = []
    for c in layer.claims:
        low, high = max(0, c.start), min(size, c.start + c.length)
        if high > low:
            found.append(Claim(start + low, high - low, f"{layer.path}{ARROW}{c.name}", depth + c.depth))
    return found
