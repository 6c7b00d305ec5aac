"""A word that must not be in the image is found wherever it can hide, and named by path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from silvermetal_explain.image.opening import layers_within, open_iso
from silvermetal_explain.image.source import FileSource
from silvermetal_explain.leaks import Leak, Words, search
from silvermetal_explain.limits import Limits

from tests.cases.world import World, build, missing, run

try:
    from compression import zstd
except ImportError:  # Python below 3.14
    from backports import zstd

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
WORD = "wilma-builder"
SAID = f"made by {WORD} in a hurry".encode()
GAPS = {2048: "GPT: partition table", 41_000: "unknown"}  # which no tool wrote
SQUASH = "live/filesystem.squashfs → "


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/MANIFEST.MF", SAID.decode() * 9)
    return out.getvalue()


def _inner_initrd(world: World) -> bytes:
    """An initramfs that a kernel package left in the root file system: gzip around cpio around a file compressed again."""
    tree = world.folder / "inner"
    tree.mkdir()
    (tree / "notes.xz").write_bytes(lzma.compress(SAID))
    packed = run("cpio", "-o", "-H", "newc", "--quiet", cwd=tree, data=b"notes.xz\n")
    return gzip.compress(packed, mtime=0)


def _gap(image: Path) -> None:
    with image.open("r+b") as file:
        for at in GAPS:
            file.seek(at)
            file.write(SAID)


PLACES = {
    "/opt/plain": SAID,
    "/opt/wide": WORD.encode("utf-16-le"),
    "/usr/share/doc/a/changelog.gz": gzip.compress(SAID, mtime=0),
    "/usr/share/doc/a/changelog.xz": lzma.compress(SAID),
    "/usr/share/doc/a/changelog.bz2": bz2.compress(SAID),
    "/usr/share/doc/a/changelog.zst": zstd.compress(SAID),
    "/usr/share/doc/a/changelog.lz4": lz4.frame.compress(SAID),
    "/opt/a.jar": _zip(),
    f"/opt/{WORD}.txt": b"only its name",
}


@pytest.fixture(scope="module")
def leaks(tmp_path_factory: pytest.TempPathFactory) -> list[Leak]:
    """Everything that is found in an image that leaks everywhere."""

    def leak(world: World) -> None:
        for path, data in PLACES.items():
            world.put(path, data)
        world.put("/boot/initrd.img-6.1", _inner_initrd(world))
        (world.root / "opt/link").symlink_to(f"/home/{WORD}/x")
        world.put("/conf/built-by", SAID, "initrd")
        world.put("EFI/BOOT/c.cfg", SAID, "efi")
        world.put("readme.txt", SAID, "iso")
        world.xorriso += ["-publisher", f"{WORD}"]
        world.after.append(_gap)

    image = build(tmp_path_factory.mktemp("leaks") / "a", 0, [leak])
    return list(search(list(layers_within(open_iso(FileSource(image), Limits()))), Words([WORD])))


def test_a_word_is_found_in_every_layer_and_inside_every_kind_of_compressed_file(leaks: list[Leak]) -> None:
    found = {leak.path for leak in leaks}
    assert {f"{SQUASH}{path}" for path in PLACES} <= found
    assert {
        f"{SQUASH}/opt/link",
        f"{SQUASH}/boot/initrd.img-6.1 → /notes.xz",
        "live/initrd.img → /conf/built-by",
        "readme.txt",
    } <= found
    assert any(path.endswith("→ /EFI/BOOT/c.cfg") for path in found)
    assert {leak.word for leak in leaks} == {WORD}


def test_a_word_is_found_in_what_belongs_to_no_file(leaks: list[Leak]) -> None:
    where = {leak.where for leak in leaks if leak.path == "ISO"}
    for at, region in GAPS.items():
        assert f"{region}, byte {at + SAID.index(WORD.encode())}" in where
    assert any(w.startswith("primary volume descriptor: publisher identifier") for w in where)


def test_nothing_is_found_where_nothing_is(image: Path) -> None:
    assert list(search(list(layers_within(open_iso(FileSource(image), Limits()))), Words([WORD, "/srv/work"]))) == []


def test_a_zip_that_lies_is_searched_as_bytes(tmp_path: Path) -> None:
    damaged = bytearray(_zip())
    at = damaged.find(b"PK\1\2")
    struct.pack_into("<II", damaged, at + 20, 0xFFFFFFF, 0xFFFFFFF)
    image = build(tmp_path / "a", 0, [lambda w: w.put("/opt/b.zip", bytes(damaged) + SAID) and None])
    found = list(search(list(layers_within(open_iso(FileSource(image), Limits()))), Words([WORD])))
    assert f"{SQUASH}/opt/b.zip" in {leak.path for leak in found}


@given(st.binary(max_size=200), st.integers(1, 40), st.binary(max_size=50))
def test_a_word_is_found_however_the_stream_is_cut(before: bytes, size: int, after: bytes) -> None:
    data = before + WORD.encode() + after
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert (WORD, data.find(WORD.encode())) in list(Words([WORD]).in_chunks(pieces))
