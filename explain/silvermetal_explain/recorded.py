"""An image as a manifest tells it: every question of `compare` answered without its bytes.

Rules:
- A manifest of another host is hostile input: every row is checked, counts are held against the limits.
- Contents are there only as far as pieces of them came along (`excerpts`).
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from . import excerpts
from .errors import Unreadable
from .excerpts import Piece
from .image.layer import Entry, Field, Layer
from .image.opening import inside
from .image.source import BytesSource, Source
from .jsonfile import number, read_json, text
from .limits import Limits
from .manifest import VERSION


def is_manifest(path: Path) -> bool:
    """By the first bytes: an ISO begins with its system area, a manifest with a brace."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as error:
        raise Unreadable(f"{path}: got {error.strerror}, expected a readable ISO or manifest") from None
    return head[:1] == b"{" or head == b"\x1f\x8b"


def _field(row: list[object]) -> Field:
    name, offset, kind, value, role = row
    return Field(text(name), number(offset), text(kind), text(value), text(role))


class Recorded(Layer):
    """A layer as a manifest tells it."""

    def __init__(self, row: dict[str, Any], limits: Limits, pieces: dict[str, Piece]) -> None:
        super().__init__(text(row["path"]), None, limits)
        self.format, self.size, self.has_content = text(row["format"]), number(row["size"]), row["content"] is True
        self.fields = [_field(f) for f in row["fields"]]
        self.tree_names = [text(t) for t in row["trees"]]
        self.children: dict[str, Recorded] = {}
        self._pieces = pieces
        for path, kind, mode, uid, gid, size, mtime, link, rdev, xattrs, fields, digest, blocks in row["entries"]:
            entry = Entry(
                text(path),
                text(kind),
                number(mode),
                number(uid),
                number(gid),
                number(size),
                None if mtime is None else number(mtime),
                text(link),
                number(rdev),
                text(xattrs),
                tuple(_field(f) for f in fields),
                None,
                text(digest),
                text(blocks),
            )
            limits.check(f"{self.path or 'ISO'}: entries", len(self.entries) + 1, limits.entries)
            self.entries[entry.path] = entry
        names = list(self.entries)
        self._order = [names[i] for i in accumulate(map(number, row["order"]))] if row["order"] is not None else names

    def open(self, entry: Entry) -> Source:
        """The piece that came along, which need not be the whole file."""
        return BytesSource(self.piece(entry).data)

    def piece(self, entry: Entry) -> Piece:
        """The piece. :raises Unreadable: where none came along."""
        found = self._pieces.get(self.inner(entry))
        if found is None:
            raise Unreadable(f"{self.inner(entry)}: got a manifest without this file's bytes, expected an excerpt")
        return found

    def order(self) -> list[str]:
        """As the reader saw it."""
        return self._order


class RecordedIso(Recorded):
    """The outermost layer of a manifest."""

    regions: list[tuple[str, int, int, str]]
    identity: dict[str, Any]


def load(path: Path, limits: Limits, excerpt: Path | None = None) -> RecordedIso:
    """A manifest, checked."""
    return from_document(read_json(path, "manifest"), str(path), limits, excerpt)


def from_document(document: Any, path: str, limits: Limits, excerpt: Path | None) -> RecordedIso:
    """The layers of a manifest that is already in memory."""
    try:
        if document["silvermetal_manifest"] != VERSION:
            raise Unreadable(f"{path}: got manifest version {document['silvermetal_manifest']}, expected {VERSION}")
        pieces = excerpts.pieces(document["excerpts"]) | (excerpts.load(excerpt) if excerpt else {})
        rows = document["layers"]
        iso = RecordedIso(rows[0], limits, pieces)
        by_path: dict[str, Recorded] = {row["path"]: Recorded(row, limits, pieces) for row in rows[1:]}
        for layer in [iso, *by_path.values()]:
            layer.trees = [by_path[t] for t in layer.tree_names]
            layer.children = by_path
        iso.regions = [(text(n), number(s), number(length), text(d)) for n, s, length, d in document["regions"]]
        iso.identity = {k: text(v) if k != "size" else number(v) for k, v in document["identity"].items()}
        iso.size = number(iso.identity["size"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Unreadable(
            f"{path}: got a manifest with a wrong part ({error!r}), expected one made by `silvermetal manifest`"
        ) from None
    return iso


def child_of(layer: Layer, entry: Entry) -> Layer | None:
    """The layer within a file, whichever way the outer one came."""
    if isinstance(layer, Recorded):
        return layer.children.get(layer.inner(entry))
    return inside(layer, entry)
