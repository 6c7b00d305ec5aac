"""The small thing that travels: what an image holds, without its bytes.

Rules:
- A manifest answers every question that `compare` asks; only the contents of differing files are missing, and those
  travel as excerpts, bounded.
- A manifest from another host is hostile input as well: it is bounded, and every row is checked.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import LimitExceeded, Unreadable
from .image.iso9660 import Iso
from .image.layer import Entry, Field, Layer
from .image.opening import inside
from .image.source import BytesSource, Source, Window, sha256
from .image.squashfs import Squashfs
from .limits import Limits
from .regions import Region, named, resolve

VERSION = 1
LARGEST = 192 << 20
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
        digest = "" if plain else sha256(Window(iso.source, region.start, region.length))
        found.append((region.name, region.start, region.length, digest))
    return found


def layers_within(layer: Layer) -> Iterator[Layer]:
    """A layer, its further trees, and everything inside it, depth first."""
    yield layer
    for tree in layer.trees:
        yield from layers_within(tree)
    for entry in list(layer.entries.values()):
        child = inside(layer, entry)
        if child is not None:
            yield from layers_within(child)


def make(iso: Iso, name: str) -> dict[str, Any]:
    """The manifest of an image; reads every byte once for the digests."""
    layers = list(layers_within(iso))
    volume = next((f.value for f in iso.fields if f.name == "primary volume descriptor: volume identifier"), "")
    return {
        "silvermetal_manifest": VERSION,
        "identity": {"name": name, "size": iso.source.size, "sha256": sha256(iso.source), "volume": volume},
        "regions": [list(row) for row in region_digests(iso)],
        "layers": [_row_of(layer) for layer in layers],
        "excerpts": _small_settings(layers),
    }


def _small_settings(layers: list[Layer]) -> dict[str, str]:
    found, left = {}, SMALL_TOGETHER
    for layer in layers:
        if not isinstance(layer, Squashfs):
            continue
        small = [e for p, e in layer.entries.items() if p.startswith("/etc/") and e.type == "f" and 0 < e.size <= SMALL]
        for entry in sorted(small, key=lambda e: (e.where.fragment, e.path)):  # type: ignore[attr-defined]
            left -= entry.size
            if left < 0:
                break
            found[layer.inner(entry)] = base64.b64encode(layer.open(entry).read(0, entry.size)).decode()
    return found


def _row_of(layer: Layer) -> dict[str, Any]:
    digests = dict(layer.hashes()) if layer.has_content else {}
    numbers = {path: i for i, path in enumerate(layer.entries)}
    order = [numbers[p] for p in layer.order()]
    return {
        "path": layer.path,
        "format": layer.format,
        "size": layer.size,
        "content": layer.has_content,
        "trees": [t.path for t in layer.trees],
        "fields": [list(f) for f in layer.fields],
        "order": order if order != list(range(len(numbers))) else None,
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
                digests.get(p, ""),
            ]
            for p, e in layer.entries.items()
        ],
    }


def write(document: dict[str, Any], path: Path) -> None:
    """Compact JSON, by a temporary name; gzip without a date if the name ends in .gz."""
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode(
        "utf-8", "surrogateescape"
    )
    if path.suffix == ".gz":
        data = gzip.compress(data, 6, mtime=0)
    handle, temporary = tempfile.mkstemp(dir=path.parent or Path(), prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path, what: str) -> Any:
    """A JSON file, gzip or not, bounded."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, EOFError) as error:
        raise Unreadable(f"{path}: got {error}, expected a readable {what}") from None
    if len(data) > LARGEST:
        raise LimitExceeded(f"{path}: got more than {LARGEST} bytes, at most that is allowed in a {what}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: got {error}, expected a {what} in JSON") from None


def is_manifest(path: Path) -> bool:
    """By the first bytes: an ISO begins with its system area, a manifest with a brace."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as error:
        raise Unreadable(f"{path}: got {error.strerror}, expected a readable ISO or manifest") from None
    return head[:1] == b"{" or head == b"\x1f\x8b"


class Recorded(Layer):
    """A layer as a manifest tells it."""

    def __init__(self, row: dict[str, Any], limits: Limits, excerpts: dict[str, bytes]) -> None:
        super().__init__(str(row["path"]), None, limits)
        self.format, self.size, self.has_content = str(row["format"]), int(row["size"]), bool(row["content"])
        self.fields = [Field(*f) for f in row["fields"]]
        self.tree_names = [str(t) for t in row["trees"]]
        self.children: dict[str, Recorded] = {}
        self._excerpts = excerpts
        for path, kind, mode, uid, gid, size, mtime, link, rdev, xattrs, fields, digest in row["entries"]:
            entry = Entry(
                str(path),
                str(kind),
                int(mode),
                int(uid),
                int(gid),
                int(size),
                mtime,
                str(link),
                int(rdev),
                str(xattrs),
                tuple(Field(*f) for f in fields),
                None,
                str(digest),
            )
            limits.check(f"{self.path or 'ISO'}: entries", len(self.entries) + 1, limits.entries)
            self.entries[entry.path] = entry
        names = list(self.entries)
        self._order = [names[int(i)] for i in row["order"]] if row["order"] is not None else names

    def open(self, entry: Entry) -> Source:
        """The excerpt, where one came along."""
        data = self._excerpts.get(self.inner(entry))
        if data is None:
            raise Unreadable(f"{self.inner(entry)}: got a manifest without this file's bytes, expected an excerpt")
        return BytesSource(data)

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
        excerpts = _decoded(document["excerpts"]) | (load_excerpts(excerpt) if excerpt else {})
        rows = document["layers"]
        iso = RecordedIso(rows[0], limits, excerpts)
        by_path: dict[str, Recorded] = {row["path"]: Recorded(row, limits, excerpts) for row in rows[1:]}
        for layer in [iso, *by_path.values()]:
            layer.trees = [by_path[t] for t in layer.tree_names]
            layer.children = by_path
        iso.regions = [(str(n), int(s), int(length), str(d)) for n, s, length, d in document["regions"]]
        iso.identity = document["identity"]
        iso.size = int(iso.identity["size"])
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


def excerpts_of(iso: Iso, wanted: list[str], each: int, together: int) -> dict[str, Any]:
    """The first bytes of the wanted files, as far as the budget goes."""
    left, found = together, {}
    for layer in layers_within(iso):
        if not layer.has_content:
            continue
        for entry in layer.entries.values():
            path = layer.inner(entry)
            if entry.type != "f" or path not in wanted or left <= 0:
                continue
            source = layer.open(entry)
            data = source.read(0, min(source.size, each, left))
            left -= len(data)
            found[path] = base64.b64encode(data).decode()
    return {"silvermetal_excerpts": VERSION, "files": found}


def _decoded(files: dict[str, str]) -> dict[str, bytes]:
    return {str(k): base64.b64decode(v) for k, v in files.items()}


def load_excerpts(path: Path) -> dict[str, bytes]:
    """The bytes by layer path."""
    document = read_json(path, "file of excerpts")
    try:
        return _decoded(document["files"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{path}: got {error!r}, expected excerpts made by `silvermetal excerpt`") from None
