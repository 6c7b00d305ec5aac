"""The small thing that travels: what an image holds, without its bytes.

Rules:
- A manifest answers every question that `compare` asks; only the contents of differing files are missing, and those
  travel as excerpts, bounded.
- Digests are cut to `DIGEST` hex digits (ADR 0015): they find a file that differs, the verdict never rests on them.
- A longer file comes with a checksum of each of its blocks, so that the piece can be asked for that differs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .excerpts import Piece, row
from .image.iso9660 import Iso
from .image.layer import Layer
from .image.opening import layers_within
from .image.source import Window, sha256
from .image.squashfs import Squashfs
from .regions import Region, named, resolve

VERSION = 2
DIGEST = 32  # hex digits: 128 bits
HASHED = 4 << 20
# Small settings travel with the manifest: mostly one of them differs, and then its bytes tell the cause at once.
SMALL, SMALL_TOGETHER = 1024, 256 << 10


def own_regions(iso: Iso) -> list[Region]:
    """The regions of the outermost layer, disjoint and complete."""
    claims = [*iso.claims, *(c for tree in iso.trees for c in tree.claims)]
    return list(named(resolve(claims, iso.source.size), iso.source))


def region_digests(iso: Iso) -> list[tuple[str, int, int, str]]:
    """Name, start, length, digest of each region; files and directories are compared elsewhere and have none."""
    files = {p.lstrip("/") for p in iso.entries}
    found = []
    for region in own_regions(iso):
        plain = (
            region.name in files
            or region.name.endswith(", no file")
            or ": directory " in region.name
            or region.length > HASHED
        )
        digest = "" if plain else sha256(Window(iso.source, region.start, region.length))[:DIGEST]
        found.append((region.name, region.start, region.length, digest))
    return found


def make(iso: Iso, name: str) -> dict[str, Any]:
    """The manifest of an image; reads every byte once for the digests."""
    layers = list(layers_within(iso))
    volume = next((f.value for f in iso.fields if f.name == "primary volume descriptor: volume identifier"), "")
    return {
        "silvermetal_manifest": VERSION,
        "identity": {"name": name, "size": iso.source.size, "sha256": sha256(iso.source), "volume": volume},
        "regions": [list(row) for row in region_digests(iso)],
        "layers": [_row_of(layer, {x.path for x in layers}) for layer in layers],
        "excerpts": _small_settings(layers),
    }


def _small_settings(layers: list[Layer]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    left = SMALL_TOGETHER
    for layer in layers:
        if not isinstance(layer, Squashfs):
            continue
        small = [e for p, e in layer.entries.items() if p.startswith("/etc/") and e.type == "f" and 0 < e.size <= SMALL]
        for entry in sorted(small, key=lambda e: (e.where.fragment, e.path)):  # type: ignore[attr-defined]
            left -= entry.size
            if left < 0:
                break
            found[layer.inner(entry)] = row(Piece(0, layer.open(entry).read(0, entry.size)))
    return found


def _row_of(layer: Layer, within: set[str]) -> dict[str, Any]:
    digests = dict(layer.hashes()) if layer.has_content else {}
    numbers = {path: i for i, path in enumerate(layer.entries)}
    order = [numbers[p] for p in layer.order()]
    steps = [b - a for a, b in pairwise([0, *order])]  # mostly ones, which pack well
    return {
        "path": layer.path,
        "format": layer.format,
        "size": layer.size,
        "content": layer.has_content,
        "trees": [t.path for t in layer.trees],
        "fields": [list(f) for f in layer.fields],
        "order": steps if order != list(range(len(numbers))) else None,
        "entries": [
            [
                e.path,
                e.type,
                e.mode,
                e.uid,
                e.gid,
                e.size,
                e.mtime,
                e.link,
                e.rdev,
                e.xattrs,
                [list(f) for f in e.fields],
                digests.get(p, ("", ""))[0][:DIGEST],
                # what is a layer is told from within
                "" if layer.inner(e) in within else digests.get(p, ("", ""))[1],
            ]
            for p, e in layer.entries.items()
        ],
    }
