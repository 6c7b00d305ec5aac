"""What differs, layer by layer, field by field, file by file.

Rules:
- Equal bytes are never looked into. A file that is a layer is explained from within; its own bytes then only follow.
- What merely follows (positions, sizes, checksums) is kept apart from what can be a cause, and is shown as a cause only
  where nothing else is left to explain it.
- Nothing that differs goes unnamed: regions that no field and no file covers are compared as bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .errors import Unreadable
from .image import dates
from .image.iso9660 import Iso
from .image.layer import ARROW, FOLLOWS, Entry, Field, Layer
from .image.source import BLOCK, Window, equal
from .limits import Limits
from .manifest import region_digests
from .recorded import RecordedIso, child_of

CONTENT = "content"
TREE = "directory tree"
ORDER = "order of files"
ABSENT = "(absent)"
CATALOGUE = "boot record: position of the boot catalogue"


@dataclass
class Difference:
    """One thing that differs, and later why."""

    layer_path: str
    what: str
    a: str
    b: str
    offset: int | None = None
    kind: str = "text"
    format: str = ""
    path: str = ""  # within its layer
    evidence: list[str] = field(default_factory=list)
    shape: str = ""
    cause: str = ""
    title: str = ""
    remedy: str = ""
    layers: tuple[Layer, Layer] | None = None
    entries: tuple[Entry, Entry] | None = None
    differs_from: int | None = None  # at or before the first byte that differs in the file, as far as it is known


@dataclass
class Comparison:
    """All that differs between A and B."""

    differences: list[Difference] = field(default_factory=list)
    follows: list[Difference] = field(default_factory=list)
    truncated: bool = False


class Comparer:
    """One walk over two images."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.result = Comparison()

    def images(self, a: Iso | RecordedIso, b: Iso | RecordedIso) -> Comparison:
        """The outermost layers and everything within."""
        if isinstance(a, Iso) and isinstance(b, Iso) and equal(a.source, b.source):
            return self.result
        self.layer(a, b)
        self._regions(a, b)
        if not self.result.differences and self.result.follows:
            self.result.differences, self.result.follows = self.result.follows, []
        return self.result

    def _note(self, difference: Difference, role: str = "cause") -> None:
        if role == FOLLOWS:
            self.result.follows.append(difference)
        elif len(self.result.differences) >= self._limits.differences:
            self.result.truncated = True
        else:
            self.result.differences.append(difference)

    def layer(self, a: Layer, b: Layer) -> int:
        """Compare two layers of one path; how many possible causes it found."""
        before = len(self.result.differences)
        if a.format != b.format:
            self._note(Difference(a.path or "ISO", "format", a.format, b.format, format=a.format))
        self._fields(a, b, a.path, "", a.fields, b.fields)
        self._entries(a, b)
        for tree_a, tree_b in _pairs(a.trees, b.trees):
            if tree_a and tree_b:
                self.layer(tree_a, tree_b)
            else:
                tree = tree_a or tree_b
                label = tree.path if tree else ""
                self._note(Difference(label, TREE, *_presence(tree_a, tree_b), format=a.format))
        return len(self.result.differences) - before

    def _fields(self, a: Layer, b: Layer, where: str, path: str, mine: list[Field], theirs: list[Field]) -> None:
        left, right = _numbered(mine), _numbered(theirs)
        parts_a, parts_b = ({_part(n) for n in names if not n.startswith("/")} for names in (left, right))
        lone = (parts_a ^ parts_b) - {"ISO"} if not where else set()
        for part in sorted(lone):  # all of its fields follow from its being there
            what = TREE if "descriptor" in part else "format"
            self._note(Difference(part, what, *_presence(part in parts_a, part in parts_b), format=a.format))
        for name in [*left, *(n for n in right if n not in left)]:
            x, y = left.get(name), right.get(name)
            if x and y and x.value == y.value:
                continue
            one = x or y
            assert one is not None
            # A part says nothing that the lack of the whole does not: the `.` of a directory, a gzip header.
            parts = "/.: " in name or "/..: " in name or name.startswith("gzip ") or (not where and _part(name) in lone)
            role = FOLLOWS if not (x and y) and parts else one.role
            self._note(
                Difference(
                    where or _part(name),
                    name if where else _rest(name),
                    x.value if x else ABSENT,
                    y.value if y else ABSENT,
                    _absolute(a if x else b, one.offset),
                    one.kind,
                    a.format,
                    path,
                ),
                role,
            )

    def _entries(self, a: Layer, b: Layer) -> None:
        pairs, missing = [], []
        for path, mine in a.entries.items():
            theirs = b.entries.get(path)
            if theirs is None:
                missing.append(path)
                continue
            if mine[1:11] != theirs[1:11]:  # all but the place of the bytes and their digest
                self._attributes(a, b, mine, theirs)
            if mine.type == theirs.type == "f" and a.has_content:
                pairs.append((mine, theirs))
        extra = [path for path in b.entries if path not in a.entries]
        parents = {p.rsplit("/", 1)[0] for p in (*missing, *extra)}
        if a.has_content or not a.path:
            for path, entry, here in [(p, a.entries[p], True) for p in missing] + [
                (p, b.entries[p], False) for p in extra
            ]:
                text = f"{_type(entry.type)}, {entry.size} bytes"
                values = (text, ABSENT) if here else (ABSENT, text)
                # a directory that came with its files needs no remedy of its own
                role = FOLLOWS if entry.type == "d" and path in parents else "cause"
                self._note(
                    Difference(a.inner(entry), "file", *values, None, "text", a.format, path, layers=(a, b)), role
                )
        else:
            for path in [*missing, *extra]:
                self._note(
                    Difference(
                        a.path,
                        f"record of {path}",
                        *(("present", ABSENT) if path in missing else (ABSENT, "present")),
                        format=a.format,
                        path=path,
                    ),
                    FOLLOWS,
                )
        if not pairs:
            return
        differing = a.differing(b, pairs)
        for mine, theirs in pairs:
            if mine.path in differing:
                self._content(a, b, mine, theirs)
        moved = self._order(a, b, {m.path for m, _ in pairs} - differing)
        if a.format == "cpio" and (moved or missing or extra):
            self._demote(lambda d: d.format == "cpio" and d.what == "inode number" and d.layer_path.startswith(a.path))

    def _demote(self, follows: Callable[[Difference], bool]) -> None:
        """What turned out to follow from something else."""
        found = self.result.differences
        self.result.follows.extend(d for d in found if follows(d))
        self.result.differences = [d for d in found if not follows(d)]

    def _attributes(self, a: Layer, b: Layer, mine: Entry, theirs: Entry) -> None:
        where = a.inner(mine) if a.has_content else f"{a.path}{ARROW}{mine.path}"
        compared = [
            ("type", _type(mine.type), _type(theirs.type)),
            ("mode", f"{mine.mode:04o}", f"{theirs.mode:04o}"),
            ("owner", f"{mine.uid}:{mine.gid}", f"{theirs.uid}:{theirs.gid}"),
            ("link target", mine.link, theirs.link),
            ("device number", str(mine.rdev), str(theirs.rdev)),
            ("extended attributes", mine.xattrs or "none", theirs.xattrs or "none"),
        ]
        if not a.format.startswith("iso9660"):  # there the fields tell it with its slot
            compared.append(("modification time", _when(mine.mtime), _when(theirs.mtime)))
        for what, x, y in compared:
            if x != y:
                kind = "date" if what == "modification time" else "text"
                self._note(Difference(where, what, x, y, None, kind, a.format, mine.path))
        if mine.fields != theirs.fields:
            self._fields(a, b, where, mine.path, list(mine.fields), list(theirs.fields))

    def _content(self, a: Layer, b: Layer, mine: Entry, theirs: Entry) -> None:
        where = a.inner(mine)
        try:
            child_a, child_b = child_of(a, mine), child_of(b, theirs)
        except Unreadable:
            child_a = child_b = None
        if child_a is not None and child_b is not None:
            count = self.layer(child_a, child_b)
            if not count:
                self._note(
                    Difference(
                        where,
                        "stored form",
                        f"{mine.size} bytes",
                        f"{theirs.size} bytes",
                        _absolute(a, 0) if a.path else None,
                        "stored",
                        child_a.format,
                        mine.path,
                        layers=(child_a, child_b),
                    )
                )
            return
        # the boot catalogue is a file too, and was compared entry by entry
        role = (
            FOLLOWS
            if a.format == "iso9660" and _value(mine.fields, "position") == _value(a.fields, CATALOGUE)
            else "cause"
        )
        place = mine.where[0][0] if isinstance(a, Iso) and mine.where else None  # type: ignore[index]
        self._note(
            Difference(
                where,
                CONTENT,
                f"{mine.size} bytes",
                f"{theirs.size} bytes",
                place,
                CONTENT,
                a.format,
                mine.path,
                layers=(a, b),
                entries=(mine, theirs),
                differs_from=_first_block(mine, theirs),
            ),
            role,
        )

    def _order(self, a: Layer, b: Layer, same: set[str]) -> bool:
        """Files that are equal and lie in another order; where they only moved, nothing is said."""
        both_a, both_b = a.order(), b.order()
        shared = same & set(both_a) & set(both_b)
        x, y = [p for p in both_a if p in shared], [p for p in both_b if p in shared]
        moved = sum(p != q for p, q in zip(x, y, strict=True))
        if moved:
            first = next(i for i, (p, q) in enumerate(zip(x, y, strict=True)) if p != q)
            self._note(
                Difference(
                    a.path or "ISO",
                    ORDER,
                    f"{x[first]} is number {first + 1}",
                    f"{y[first]} is number {first + 1}",
                    None,
                    "order",
                    a.format,
                    evidence=[f"{moved} of {len(x)} equal files lie in another place of the order"],
                )
            )
        return bool(moved)

    def _regions(self, a: Iso | RecordedIso, b: Iso | RecordedIso) -> None:
        mine, theirs = _by_name(regions_of(a)), _by_name(regions_of(b))
        known = {d.layer_path for d in self.result.differences + self.result.follows if d.format == "iso9660"}
        fielded = {_part(f.name) for f in a.fields}
        for name in [*mine, *(n for n in theirs if n not in mine)]:
            x, y = mine.get(name), theirs.get(name)
            plain = name.split(" #")[0]
            covered = plain in fielded or plain in known or plain.split(":")[0] in fielded
            if covered or (x and y and x[3] == y[3]) or (x or y)[3] == "":  # type: ignore[index]
                continue
            follows = "path table" in plain or "padding" in plain or "continuation area" in plain or not (x and y)
            # a further session's begins where the trees before it ended
            follows = follows or ("system area (" in plain and x[2] != y[2])  # type: ignore[index]
            role = FOLLOWS if follows and not (x and y and "padding" in plain and x[2] == y[2]) else "cause"
            texts = [f"{r[2]} bytes, sha256 {r[3][:16]}…" if r else ABSENT for r in (x, y)]
            offset = (x or y)[1]  # type: ignore[index]
            self._note(Difference(plain, "bytes of the region", *texts, offset, "region", "iso9660"), role)


def regions_of(image: Iso | RecordedIso) -> list[tuple[str, int, int, str]]:
    """The rows whichever way the image came."""
    return image.regions if isinstance(image, RecordedIso) else region_digests(image)


def _first_block(a: Entry, b: Entry) -> int | None:
    """Where two files begin to differ, by the checksums that a manifest tells."""
    if not a.blocks or not b.blocks:
        return None
    common = min(len(a.blocks), len(b.blocks))
    return next(
        (i // 8 * BLOCK for i in range(0, common, 8) if a.blocks[i : i + 8] != b.blocks[i : i + 8]), common // 8 * BLOCK
    )


def _value(fields: Iterable[Field], name: str) -> str | None:
    return next((f.value for f in fields if f.name == name), None)


def _numbered(fields: list[Field]) -> dict[str, Field]:
    """By name; names that recur get a number."""
    seen: Counter[str] = Counter()
    found = {}
    for f in fields:
        seen[f.name] += 1
        found[f.name if seen[f.name] == 1 else f"{f.name} #{seen[f.name]}"] = f
    return found


def _by_name(rows: list[tuple[str, int, int, str]]) -> dict[str, tuple[str, int, int, str]]:
    seen: Counter[str] = Counter()
    found = {}
    for row in rows:
        seen[row[0]] += 1
        found[row[0] if seen[row[0]] == 1 else f"{row[0]} #{seen[row[0]]}"] = row
    return found


def _pairs(a: list[Layer], b: list[Layer]) -> list[tuple[Layer | None, Layer | None]]:
    left, right = {t.path: t for t in a}, {t.path: t for t in b}
    return [(left.get(n), right.get(n)) for n in [*left, *(n for n in right if n not in left)]]


def _presence(a: object, b: object) -> tuple[str, str]:
    return ("present" if a else ABSENT, "present" if b else ABSENT)


def _part(name: str) -> str:
    return name.split(": ", 1)[0] if ": " in name else "ISO"


def _rest(name: str) -> str:
    return name.split(": ", 1)[-1]


def _absolute(layer: Layer, offset: int) -> int | None:
    """Where it lies in the image: an inner layer that is one window keeps its place."""
    if isinstance(layer.source, Window):
        return layer.source.start + offset
    return offset if layer.format.startswith("iso9660") else None


def _type(letter: str) -> str:
    names = {
        "f": "file",
        "d": "directory",
        "l": "symbolic link",
        "b": "block device",
        "c": "character device",
        "p": "pipe",
        "s": "socket",
    }
    return names.get(letter, letter)


def _when(seconds: int | None) -> str:
    return "unset" if seconds is None else dates.unix(seconds)
