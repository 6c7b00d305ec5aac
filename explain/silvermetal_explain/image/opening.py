"""Which reader reads what: by the bytes, never by the name.

Rules:
- A file that no reader knows, or whose reader refuses it, stays a plain file; the refusal is kept as a field.
- Layers nest at most `Limits.depth` deep.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Unreadable
from ..limits import Limits
from .compression import sniff, stream
from .cpio import MAGIC, Cpio
from .fat import Fat
from .iso9660 import Iso
from .layer import CAUSE, Entry, Field, Layer
from .source import Source, Spool, Window
from .squashfs import Squashfs

STREAMS = ("gzip", "xz", "zstd", "lz4", "lz4-legacy", "bzip2", "lzma")


def open_iso(source: Source, limits: Limits) -> Iso:
    """The outermost layer."""
    return Iso(source, limits)


def container(head: bytes) -> str:
    """The kind of layer that these first 512 bytes begin, or nothing."""
    if head[:4] == b"hsqs":
        return "squashfs"
    if head[:6] in MAGIC:
        return "cpio"
    if (
        len(head) >= 512
        and head[510:512] == b"\x55\xaa"
        and head[0] in (0xEB, 0xE9)
        and (head[54:57] == b"FAT" or head[82:85] == b"FAT")
    ):
        return "fat"
    return sniff(head)


def inside(parent: Layer, entry: Entry) -> Layer | None:
    """The layer within a file, if it is one that is read."""
    if entry.type != "f" or entry.size < 64 or not parent.has_content:
        return None
    if isinstance(parent, Squashfs) and not _layer_name(entry.path):
        return None  # looking into every file would decompress every file
    head = getattr(parent, "head", None)
    first = head(entry, 512) if head else b""
    source: Source | None = None
    if head is None:
        source = parent.open(entry)
        first = source.read(0, min(512, source.size))
    kind = container(first)
    if not kind or (kind in STREAMS and not _initramfs_name(entry.path)):
        return None
    return read_layer(parent.inner(entry), source or parent.open(entry), parent.limits, kind)


def layers_within(layer: Layer) -> Iterator[Layer]:
    """A layer, its further trees, and everything inside it, depth first."""
    yield layer
    for tree in layer.trees:
        yield from layers_within(tree)
    for entry in list(layer.entries.values()):
        child = inside(layer, entry)
        if child is not None:
            yield from layers_within(child)


def _initramfs_name(path: str) -> bool:
    """Compressed files are looked into as layers only where they are archives; other .gz are compared as content."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.startswith(("initrd", "initramfs")) or ".cpio" in name or name.endswith(".img")


def _layer_name(path: str) -> bool:
    return _initramfs_name(path) or path.endswith((".squashfs", ".sqfs", ".cpio", ".efi.img"))


def read_layer(path: str, source: Source, limits: Limits, kind: str) -> Layer | None:
    """Read `source` as a layer of `kind`; nothing where the content is not what its first bytes promise."""
    limits.check(f"{path}: layers within layers", path.count(" → "), limits.depth)
    try:
        if kind == "squashfs":
            return Squashfs(path, source, limits)
        if kind == "fat":
            return Fat(path, source, limits)
        if kind == "cpio":
            return _archives(path, Cpio(path, source, limits), limits)
        plain = Spool(stream(kind, source, limits.spool), limits.spool)
        layer = Cpio(path, plain, limits)
        layer.claims = []  # they count decompressed bytes, which are no bytes of the image
        layer.fields.append(Field("compressed by", 0, "text", kind))
        if kind == "gzip":
            layer.fields.extend(gzip_fields(source))
        return layer  # noqa: TRY300
    except Unreadable as refusal:
        broken = Layer(path, source, limits)
        broken.format = f"{kind} that could not be read"
        broken.fields.append(Field("why it could not be read", 0, "text", str(refusal), CAUSE))
        return broken if kind in ("squashfs", "fat") else None


def gzip_fields(source: Source) -> list[Field]:
    """What a gzip header says of its making."""
    head = source.read(0, min(10, source.size))
    if len(head) < 10 or head[:2] != b"\x1f\x8b":
        return []
    return [
        Field("gzip modification time", 4, "int", str(int.from_bytes(head[4:8], "little"))),
        Field("gzip flags, level and system", 3, "bytes", (head[3:4] + head[8:10]).hex()),
    ]


def _archives(path: str, first: Cpio, limits: Limits) -> Cpio:
    """An early plain cpio may be followed by a compressed one."""
    rest = first.source.size - first.end
    at = first.end
    while rest > 6 and not first.source.read(at, 1).strip(b"\0"):
        at, rest = at + 1, rest - 1
    if rest <= 6:
        return first
    window = Window(first.source, at, rest)
    kind = sniff(window.read(0, 6))
    if kind not in STREAMS:
        return first
    second = Cpio(path, Spool(stream(kind, window, limits.spool), limits.spool), limits)
    first.fields.append(Field("second archive compressed by", at, "text", kind))
    for entry in second.entries.values():
        first.add(entry._replace(where=Window(second.source, *entry.where)))  # type: ignore[misc]
    return first
