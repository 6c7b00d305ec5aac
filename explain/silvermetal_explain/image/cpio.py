"""initramfs archives: one or more newc cpios, each plain or compressed, one after the other.

Rules:
- Headers are held against the file; a name or size beyond it is Unreadable.
- Each archive's files are named by path; those of a second archive that repeat a path keep it with its number.
"""

from __future__ import annotations

from ..errors import Unreadable
from ..limits import Limits
from ..regions import Claim
from .layer import FOLLOWS, Entry, Field, Layer
from .source import Source, Window

MAGIC = (b"070701", b"070702")
TYPES = {0o10: "f", 0o4: "d", 0o12: "l", 0o6: "b", 0o2: "c", 0o1: "p", 0o14: "s"}
HEAD = 110


class Cpio(Layer):
    """The archives in one stream of plain bytes."""

    format = "cpio"

    def __init__(self, path: str, source: Source, limits: Limits) -> None:
        super().__init__(path, source, limits)
        self.end = 0
        at, archive, inodes = 0, 1, []
        while at + HEAD <= source.size:
            head = source.read(at, HEAD)
            if head[:6] not in MAGIC:
                if head[:4] != bytes(4):
                    break
                at = self._zeros(at)
                continue
            entry, after = self._entry(head, at)
            self.claims.append(Claim(at, after - at, entry.path))
            at = self.end = after
            if entry.path == "/TRAILER!!!":
                archive += 1
                continue
            inodes.append(entry.fields[0].value)
            self.add(entry)
        if not self.entries:
            raise Unreadable(f"{path}: got no cpio header, expected the magic 070701")
        self.fields.append(Field("archives", 0, "int", str(archive - 1)))

    def _zeros(self, at: int) -> int:
        """Past padding between archives, to the next byte that is not zero."""
        start = at
        while at < self.source.size:
            chunk = self.source.read(at, min(4096, self.source.size - at))
            left = chunk.lstrip(b"\0")
            at += len(chunk) - len(left)
            if left:
                break
        self.claims.append(Claim(start, at - start, "padding (zeros)"))
        return at

    def _entry(self, head: bytes, at: int) -> tuple[Entry, int]:
        try:
            (inode, mode, uid, gid, links, mtime, size, _dmaj, _dmin, rmaj, rmin, length, check) = (
                int(head[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)
            )
        except ValueError:
            raise Unreadable(
                f"{self.path}: got a cpio header that is not hex at byte {at}, expected 13 numbers"
            ) from None
        self.limits.check(f"{self.path}: length of a name", length, self.limits.name)
        name = self.source.read(at + HEAD, length).rstrip(b"\0").decode("utf-8", "backslashreplace")
        start = at + HEAD + length
        start += -start % 4
        after = start + size
        after = min(after + -after % 4, max(self.source.size, after))
        if start + size > self.source.size:
            raise Unreadable(
                f"{self.path}: got {size} bytes of {name!r} at {start}, expected them within {self.source.size}"
            )
        kind = TYPES.get(mode >> 12, "f")
        link = self.source.read(start, min(size, 4096)).decode("utf-8", "backslashreplace") if kind == "l" else ""
        fields = (
            Field("inode number", at + 6, "int", str(inode)),
            Field("device number", at + 62, "int", f"{_dmaj}:{_dmin}"),
            Field("links", at + 38, "int", str(links), FOLLOWS),
            Field("check", at + 102, "int", str(check), FOLLOWS),
        )
        path = "/" + name.lstrip("/").removeprefix("./")
        path = "/" if path == "/." else path
        entry = Entry(
            path,
            kind,
            mode & 0o7777,
            uid,
            gid,
            size if kind == "f" else 0,
            mtime,
            link,
            rmaj << 8 | rmin,
            "",
            fields,
            (start, size),
        )
        return entry, after

    def open(self, entry: Entry) -> Source:
        """A window; files of a compressed second archive bring their own."""
        if isinstance(entry.where, Window):
            return entry.where
        start, size = entry.where  # type: ignore[misc]
        return Window(self.source, start, size)
