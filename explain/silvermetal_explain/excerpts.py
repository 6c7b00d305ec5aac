"""The few bytes that travel after a manifest: of each differing file a piece from where it begins to differ.

Rules:
- Each file gets a fair share of the budget, the smallest first: what one leaves over goes to the next.
- A piece says where in its file it begins; pieces of another host are hostile input and checked like it.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

from .errors import Unreadable
from .image.iso9660 import Iso
from .image.layer import Entry, Layer
from .image.opening import layers_within
from .jsonfile import number, read_json, text

VERSION = 2
CONTEXT = 4096
"""Bytes before the first differing block that come along."""


class Piece(NamedTuple):
    """Bytes of one file, and where in it they begin."""

    at: int
    data: bytes


def wanted_in(report: Any, name: str) -> dict[str, int]:
    """What a diff report found to differ in content: layer path, and the byte from which on.

    :raises Unreadable: when it is no such report.
    """
    try:
        rows = [d for d in report["differences"] if d["what"] == "content"]
        return {text(d["layer_path"]): max(0, number(d.get("differs_from", 0))) for d in rows}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{name}: got a report without {error}, expected the JSON of `silvermetal diff`") from None


def take(iso: Iso, wanted: dict[str, int], each: int, together: int) -> dict[str, Any]:
    """The pieces of the wanted files: at most `each` bytes of one, `together` of all."""
    found: list[tuple[Layer, Entry]] = []
    for layer in layers_within(iso):
        if layer.has_content:
            found += [(layer, e) for e in layer.entries.values() if e.type == "f" and layer.inner(e) in wanted]
    found.sort(key=lambda row: row[1].size)
    files = {}
    for done, (layer, entry) in enumerate(found):
        share = min(each, together // (len(found) - done))
        source = layer.open(entry)
        at = min(source.size, max(0, wanted[layer.inner(entry)] - CONTEXT))
        data = source.read(at, min(source.size - at, share))
        together -= len(data)
        files[layer.inner(entry)] = row(Piece(at, data))
    return {"silvermetal_excerpts": VERSION, "files": files}


def row(piece: Piece) -> list[Any]:
    """As it stands in JSON."""
    return [piece.at, base64.b64encode(piece.data).decode()]


def pieces(files: Any) -> dict[str, Piece]:
    """By layer path. :raises KeyError, TypeError, ValueError, AttributeError: when a part is wrong."""
    return {k: Piece(max(0, number(at)), base64.b64decode(text(data))) for k, (at, data) in files.items()}


def load(path: Path) -> dict[str, Piece]:
    """The pieces that a host sent. :raises Unreadable: when they are none."""
    document = read_json(path, "file of excerpts")
    try:
        if document["silvermetal_excerpts"] != VERSION:
            raise Unreadable(f"{path}: got excerpts of version {document['silvermetal_excerpts']}, expected {VERSION}")
        return pieces(document["files"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{path}: got {error!r}, expected excerpts made by `silvermetal excerpt`") from None
