"""What every reader yields: fields, files and regions of one layer.

Rules:
- A field knows its offset in its own layer's bytes and its decoded value; `role` says whether it can be a cause or only
  follows from something else (a position, a size, a checksum).
- A layer's path is how a person says it: `live/filesystem.squashfs → /boot/initrd.img`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..limits import Limits
from ..regions import Claim
from .source import Source, digests, equal, sha256

ARROW = " → "
CAUSE, FOLLOWS = "cause", "follows"


class Field(NamedTuple):
    """One named value of the layer's own structures."""

    name: str
    offset: int
    kind: str  # date uuid int text bytes
    value: str
    role: str = CAUSE


class Entry(NamedTuple):
    """One file, directory, link or device of a layer."""

    path: str
    type: str  # f d l b c p s
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int | None
    link: str = ""
    rdev: int = 0
    xattrs: str = ""  # digest over the sorted pairs, or the pairs themselves where short
    fields: tuple[Field, ...] = ()  # what the format keeps beyond these
    where: object = None  # the reader's own way to the content
    sha256: str = ""
    blocks: str = ""  # checksums of its blocks, as a manifest tells them


class Layer:
    """A layer as a reader sees it; subclasses fill `fields`, `entries`, `claims`."""

    format = "unknown"
    has_content = True  # False where entries only repeat another layer's files

    def __init__(self, path: str, source: Source | None, limits: Limits) -> None:
        self.path = path
        self.source = source
        self.limits = limits
        self.fields: list[Field] = []
        self.entries: dict[str, Entry] = {}
        self.claims: list[Claim] = []
        self.trees: list[Layer] = []  # further directory trees over the same files
        self.size = source.size if source else 0

    def add(self, entry: Entry) -> None:
        """Take an entry in, within the limit; a second entry of one path keeps its own name."""
        if len(self.entries) >= self.limits.entries:
            self.limits.check(f"{self.path or 'ISO'}: entries", len(self.entries) + 1, self.limits.entries)
        path = entry.path
        if path in self.entries:
            path = f"{path} (again at entry {len(self.entries)})"
            entry = entry._replace(path=path)
        self.entries[path] = entry

    def open(self, entry: Entry) -> Source:
        """The content of a file."""
        raise NotImplementedError

    def inner(self, entry: Entry) -> str:
        """The path by which the inside of a file is named; a partition is named by itself."""
        if self.format == "partitions":
            return entry.path
        return f"{self.path}{ARROW}{entry.path}" if self.path else entry.path.lstrip("/")

    def differing(self, other: Layer, pairs: list[tuple[Entry, Entry]]) -> set[str]:
        """Paths of those pairs of files whose contents differ."""
        found = set()
        for a, b in pairs:
            if a.size != b.size:
                found.add(a.path)
            elif a.sha256 and b.sha256:
                if a.sha256 != b.sha256:
                    found.add(a.path)
            elif a.sha256 or b.sha256:
                if (a.sha256 or sha256(self.open(a))) != (b.sha256 or sha256(other.open(b))):
                    found.add(a.path)
            elif not equal(self.open(a), other.open(b)):  # stops at the first block that differs
                found.add(a.path)
        return found

    def hashes(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Path, digest and block checksums of every file with content, in the order that is cheapest to read."""
        for path, entry in self.entries.items():
            if entry.type == "f":
                yield path, digests(self.open(entry))

    def order(self) -> list[str]:
        """The paths in the order in which the layer holds them."""
        return list(self.entries)
