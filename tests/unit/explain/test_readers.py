"""Our readers against other people's: the same files, sizes, owners and bytes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from silvermetal_explain.image.iso9660 import Iso
from silvermetal_explain.image.layer import Layer
from silvermetal_explain.image.opening import layers_within, open_iso
from silvermetal_explain.image.source import FileSource
from silvermetal_explain.image.squashfs import Squashfs
from silvermetal_explain.limits import Limits

LIMITS = Limits()


def opened(path: Path) -> Iso:
    """An image."""
    return open_iso(FileSource(path), LIMITS)


def layer(path: Path, suffix: str) -> Layer:
    """The layer whose path ends so."""
    return next(x for x in layers_within(opened(path)) if x.path.endswith(suffix))


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd", "lz4", "lzma"])
def test_squashfs_agrees_with_dissect_and_the_tree_for_every_compressor(compressor: str, tmp_path: Path) -> None:
    dissect = pytest.importorskip("dissect.squashfs")
    if shutil.which("mksquashfs") is None:
        pytest.skip("not installed: mksquashfs")
    tree = tmp_path / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "small").write_text("a fragment\n")
    (tree / "deep/large").write_bytes(os.urandom(300_000) + bytes(700_000) + b"end" * 5000)
    (tree / "deep/er/link").symlink_to("../large")
    os.link(tree / "small", tree / "hard")
    (tree / "mode").write_text("x")
    (tree / "mode").chmod(0o4751)
    image = tmp_path / "image.sqfs"
    done = subprocess.run(
        ["mksquashfs", tree, image, "-comp", compressor, "-noappend", "-quiet", "-no-progress", "-b", "64K"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"this mksquashfs has no {compressor}")
    ours = Squashfs("x", FileSource(image), LIMITS)
    digests = dict(ours.hashes())
    on_disk = {"/" + str(p.relative_to(tree)): p for p in tree.rglob("*")}
    assert set(ours.entries) == set(on_disk) | {"/"}
    for path, real in on_disk.items():
        entry, status = ours.entries[path], real.lstat()
        assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (
            status.st_mode & 0o7777,
            status.st_uid,
            status.st_gid,
            int(status.st_mtime),
        )
        if entry.type == "f":
            assert digests[path][0] == hashlib.sha256(real.read_bytes()).hexdigest()
            assert ours.open(entry).read(0, entry.size) == real.read_bytes()
        if entry.type == "l":
            assert entry.link == str(real.readlink())
    if compressor in ("gzip", "xz"):  # dissect needs wheels of its own for the others
        theirs = dissect.SquashFS(image.open("rb"))
        assert theirs.get("/deep/large").open().read() == (tree / "deep/large").read_bytes()
        assert theirs.get("/small").header.mtime == ours.entries["/small"].mtime


def test_iso_and_fat_agree_with_pycdlib_and_dissect(image: Path) -> None:
    pycdlib = pytest.importorskip("pycdlib")
    dissect_fat = pytest.importorskip("dissect.fat")
    ours = opened(image)
    theirs = pycdlib.PyCdlib()
    theirs.open(str(image))
    found = {}
    for folder, _, names in theirs.walk(rr_path="/"):
        for name in names:
            data = io.BytesIO()
            theirs.get_file_from_iso_fp(data, rr_path=f"{folder.rstrip('/')}/{name}")
            found[f"{folder.rstrip('/')}/{name}"] = hashlib.sha256(data.getvalue()).hexdigest()
    theirs.close()
    assert {p: d for p, (d, _) in ours.hashes()} == found
    fat = next(x for x in layers_within(ours) if x.format == "fat")
    data = fat.source.read(0, fat.source.size)
    volume = dissect_fat.FATFS(io.BytesIO(data))
    assert volume.get("EFI/BOOT/a.cfg").open().read() == fat.open(fat.entries["/EFI/BOOT/a.cfg"]).read(0, 40)
    assert f"{int(volume.volume_id, 16):08x}" == next(f.value for f in fat.fields if f.name == "volume id")


def test_the_initramfs_is_read_as_cpio_lists_it(image: Path) -> None:
    cpio = layer(image, "initrd.img")
    packed = subprocess.run(
        ["gzip", "-dc"], input=_content(image, "/live/initrd.img"), capture_output=True, check=True, timeout=30
    )
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=packed.stdout, capture_output=True, check=True, timeout=30)
    assert sorted(cpio.entries) == sorted("/" + line for line in listed.stdout.decode().split())


def _content(image: Path, path: str) -> bytes:
    iso = opened(image)
    entry = iso.entries[path]
    return iso.open(entry).read(0, entry.size)


def test_equal_files_are_told_from_differing_ones_without_decompressing(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (layer(p, "filesystem.squashfs") for p in pair)
    assert isinstance(a, Squashfs)
    unpacked: list[int] = []
    original = Squashfs.unpack

    def counted(self: Squashfs, data: bytes, limit: int) -> bytes:
        unpacked.append(len(data))
        return original(self, data, limit)

    monkeypatch.setattr(Squashfs, "unpack", counted)
    files = [(e, b.entries[p]) for p, e in a.entries.items() if e.type == "f" and p in b.entries]
    found = a.differing(b, files)
    assert found == {
        "/etc/nvme/hostid", "/etc/nvme/hostnqn", "/var/lib/dkms/tirdad/0.1/6.1.0-31-amd64/x86_64/log/make.log",
    }  # fmt: skip
    assert len(unpacked) <= 8, "only the fragments of the three may be unpacked"
