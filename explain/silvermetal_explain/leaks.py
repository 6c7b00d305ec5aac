"""Words that must not be in the image, searched in every layer.

Rules:
- Names, link targets, fields and contents are searched, contents also inside compressed files and zip archives, and as
  UTF-16 too; of the ISO also what lies in no file: the system area, paddings, unknown bytes.
- A word shorter than four bytes is refused: it would be found everywhere. Hits are named by layer path and offset.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from .errors import ExplainError
from .image.compression import sniff, stream
from .image.iso9660 import Iso
from .image.layer import Entry, Layer
from .image.source import BytesSource, chunks
from .image.squashfs import Squashfs, Where
from .manifest import own_regions

SHORTEST = 4
HITS = 200
INNER = 64 << 20  # of one compressed file, stored
# Regions of which no field tells all bytes, and which are no file.
UNNAMED = ("MBR", "GPT", "system area", "unknown", "padding", "boot image")
ZIP = b"PK\3\4"
ZIPPED, UNZIPPED = 16 << 20, 256 << 20  # of one archive, stored; of one member, unpacked


@dataclass(frozen=True)
class Leak:
    """One word at one place."""

    word: str
    path: str
    where: str


class Words:
    """The needles, in the forms in which they are looked for."""

    def __init__(self, words: Iterable[str]) -> None:
        self.needles = [(w, n) for w in dict.fromkeys(words) for n in (w.encode(), w.encode("utf-16-le"))]
        self._longest = max((len(n) for _, n in self.needles), default=1)

    def in_text(self, text: str) -> Iterator[str]:
        """Words within a name or value, of which some formats keep only capitals."""
        yield from (w for w in dict(self.needles) if w.lower() in text.lower())

    def in_chunks(self, pieces: Iterable[bytes]) -> Iterator[tuple[str, int]]:
        """Word and offset of its first hit in a stream."""
        left, tail, at = list(self.needles), b"", 0
        for piece in pieces:
            data = tail + piece
            for word, needle in list(left):
                found = data.find(needle)
                if found >= 0:
                    yield word, at - len(tail) + found
                    left.remove((word, needle))
            if not left:
                return
            at += len(piece)
            tail = data[-(self._longest - 1) :] if self._longest > 1 else b""


def search(layers: list[Layer], words: Words) -> Iterator[Leak]:
    """All hits, layer by layer; a file that is a layer is searched from within."""
    known = {layer.path for layer in layers}
    for layer in layers[:1]:
        if isinstance(layer, Iso):
            yield from _gaps(layer, words)
    for layer in layers:
        for field in layer.fields:
            for word in words.in_text(field.value):
                yield Leak(word, layer.path or "ISO", f"{field.name} at byte {field.offset}")
        for entry in _cheap_order(layer):
            path = layer.inner(entry)
            for text, label in ((entry.path, "name"), (entry.link, "link target")):
                for word in words.in_text(text):
                    yield Leak(word, path, label)
            if entry.type == "f" and layer.has_content:
                yield from _content(layer, entry, path, words, path in known)


def _gaps(iso: Iso, words: Words) -> Iterator[Leak]:
    """What is neither a file nor a structure whose fields are searched."""
    for region in own_regions(iso):
        if region.name.startswith(UNNAMED):
            for word, offset in words.in_chunks(chunks(iso.source, region.start, region.length)):
                yield Leak(word, "ISO", f"{region.name}, byte {region.start + offset}")


def _cheap_order(layer: Layer) -> list[Entry]:
    entries = list(layer.entries.values())
    if isinstance(layer, Squashfs):
        entries.sort(key=lambda e: (e.where.fragment, e.where.start) if isinstance(e.where, Where) else (-1, 0))
    return entries


def _content(layer: Layer, entry: Entry, path: str, words: Words, is_layer: bool) -> Iterator[Leak]:
    pieces = layer.blocks(entry) if isinstance(layer, Squashfs) else chunks(layer.open(entry))
    head: list[bytes] = []

    def kept() -> Iterator[bytes]:
        for piece in pieces:
            if not head:
                head.append(piece[:6])
            yield piece

    for word, offset in words.in_chunks(kept()):
        yield Leak(word, path, f"byte {offset}")
    if head and head[0][:4] == ZIP and entry.size <= ZIPPED:
        yield from _members(layer.open(entry).read(0, entry.size), path, words)
    kind = sniff(head[0]) if head else ""
    if not kind or kind == "lzma" or is_layer or entry.size > INNER:
        return
    try:
        source = layer.open(entry) if entry.size > 1 << 20 else BytesSource(layer.open(entry).read(0, entry.size))
        for word, offset in words.in_chunks(stream(kind, source, layer.limits.spool)):
            yield Leak(word, path, f"byte {offset} inside the {kind} stream")
    except ExplainError:
        return  # not a stream after all: its bytes were searched as they are


def _members(data: bytes, path: str, words: Words) -> Iterator[Leak]:
    """Inside each member of a zip archive (jar, wheel, …)."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    pieces = iter(lambda file=file: file.read(1 << 20), b"")
                    for word, offset in words.in_chunks(islice(pieces, UNZIPPED >> 20)):
                        yield Leak(word, path, f"byte {offset} of its member {member.filename}")
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ):
        return  # no archive after all, or an encrypted one: its bytes were searched as they are
