"""The map covers every byte of whatever made the image, once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from silvermetal_explain.image.opening import open_iso
from silvermetal_explain.image.source import FileSource
from silvermetal_explain.limits import Limits
from silvermetal_explain.mapping import full_map
from silvermetal_explain.regions import Claim, Region, resolve

claims = st.lists(
    st.builds(Claim, st.integers(-5, 120), st.integers(0, 150), st.sampled_from("abcd"), st.integers(-2, 3)),
    max_size=30,
)


def cover(regions: list[Region], size: int) -> None:
    """Disjoint, in order, from the first byte to the last."""
    at = 0
    for region in regions:
        assert region.start == at
        assert region.length > 0
        at += region.length
    assert at == size


@given(claims, st.integers(0, 120))
def test_whatever_is_claimed_each_byte_has_one_name(found: list[Claim], size: int) -> None:
    regions = resolve(found, size)
    cover(regions, size)
    for region in regions:
        for byte in (region.start, region.start + region.length - 1):
            here = [(-c.depth, i, c.name) for i, c in enumerate(found) if c.start <= byte < c.start + c.length]
            assert region.name == (min(here)[2] if here else "unclaimed")


MAKERS = {
    "xorriso": ["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-o", "OUT", "TREE"],
    "xorriso with partition offset": ["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-partition_offset", "16", "-o", "OUT", "TREE"],
    "genisoimage": ["genisoimage", "-quiet", "-J", "-R", "-b", "boot.img", "-no-emul-boot", "-c", "boot.cat", "-o", "OUT", "TREE"],
    "genisoimage with UDF and HFS": ["genisoimage", "-quiet", "-J", "-R", "-udf", "-hfs", "-o", "OUT", "TREE"],
    "grub-mkrescue": ["grub-mkrescue", "-o", "OUT", "TREE"],
}  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS)
def test_every_byte_is_mapped_on_what_the_tools_make(maker: str, tmp_path: Path) -> None:
    argv = MAKERS[maker]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"not installed: {argv[0]}")
    tree, out = tmp_path / "tree", tmp_path / "out.iso"
    (tree / "some/folder").mkdir(parents=True)
    (tree / "boot.img").write_bytes(b"\xfa" * 2048)
    (tree / "some/folder/a file with a long name.text").write_text("text\n" * 999)
    words = [{"OUT": str(out), "TREE": str(tree)}.get(w, w) for w in argv]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    if done.returncode and argv[0] == "grub-mkrescue":
        pytest.skip(f"grub-mkrescue does not run here: {done.stderr.decode()[-200:]}")
    assert done.returncode == 0, done.stderr.decode()
    regions = full_map(open_iso(FileSource(out), Limits()))
    cover(regions, out.stat().st_size)
    assert any(r.name == "some/folder/a file with a long name.text" for r in regions)
    unknown = sum(r.length for r in regions if r.name == "unknown")
    assert unknown == 0 or "HFS" in maker, [r for r in regions if r.name == "unknown"]


LIVE_BUILD = {
    # image type, boot loaders, files that the boot loaders' own stages would have left
    "hybrid": ("iso-hybrid", "syslinux,grub-efi", "isolinux/isolinux.bin"),
    "grub": ("iso", "grub-pc,grub-efi", "boot/grub/grub_eltorito"),
}


@pytest.mark.parametrize("kind", LIVE_BUILD)
def test_every_byte_is_mapped_on_what_live_build_makes(kind: str, tmp_path: Path) -> None:
    needed = ("lb", "mksquashfs", "mkfs.vfat", "xorriso")
    missing = [t for t in needed if shutil.which(t) is None] + [
        f for f in ("/usr/lib/ISOLINUX/isohdpfx.bin",) if not Path(f).exists()
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    image_type, loaders, stage = LIVE_BUILD[kind]
    run(tmp_path, "lb", "config", "--distribution", "bookworm", "--architecture", "amd64", "--build-with-chroot", "false",
        "--bootloaders", loaders, "--binary-image", image_type, "--image-name", "small")  # fmt: skip
    binary = tmp_path / "binary"
    for folder in ("isolinux", "boot/grub", "live"):
        (binary / folder).mkdir(parents=True)
    (binary / stage).write_bytes(b"\xfa" * 8192)
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/hostname").write_text("live\n")
    run(tmp_path, "mksquashfs", "root", "binary/live/filesystem.squashfs", "-quiet", "-no-progress")
    run(tmp_path, "mkfs.vfat", "-C", "binary/boot/grub/efi.img", "1440")
    (tmp_path / ".build/bootstrap").touch()  # the stages before are not needed for the last one
    run(tmp_path, "lb", "binary_iso")
    (out,) = tmp_path.glob("small-amd64*.iso")
    regions = full_map(open_iso(FileSource(out), Limits()))
    cover(regions, out.stat().st_size)
    names = {r.name for r in regions}
    assert {stage, ".disk/mkisofs", "live/filesystem.squashfs → inode table", "boot/grub/efi.img → FAT 1"} <= names
    assert ("GPT: header" in names) == (kind == "hybrid")
    assert [r for r in regions if r.name == "unknown"] == []


def run(folder: Path, *argv: str) -> None:
    """One tool, with the epoch, as live-build's own wrapper sets it."""
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SOURCE_DATE_EPOCH": "1700000000", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, (argv, done.stdout[-500:], done.stderr[-1000:])


def test_what_no_reader_knows_is_a_region_called_unknown(image: Path, tmp_path: Path) -> None:
    known = full_map(open_iso(FileSource(image), Limits()))
    gap = next(r for r in known if r.name == "padding (zeros)" and r.length >= 64)
    data = bytearray(image.read_bytes())
    data[gap.start + 8 : gap.start + 40] = b"something of another tool's own "
    strange = tmp_path / "strange.iso"
    strange.write_bytes(bytes(data) + b"and a tail " * 999)
    regions = full_map(open_iso(FileSource(strange), Limits()))
    cover(regions, strange.stat().st_size)
    for byte in (gap.start + 8, len(data)):
        assert next(r.name for r in regions if r.start <= byte < r.start + r.length) == "unknown"


def test_the_layers_of_a_live_image_are_mapped_from_within(image: Path) -> None:
    regions = full_map(open_iso(FileSource(image), Limits()))
    cover(regions, image.stat().st_size)
    names = {r.name for r in regions}
    for name in ("live/filesystem.squashfs → superblock", "live/filesystem.squashfs → inode table", "GPT: header", "boot catalogue",
                 "primary volume descriptor", "Joliet tree: directory /live", "live/initrd.img"):  # fmt: skip
        assert name in names
    assert any(n.endswith("→ /EFI/BOOT/a.cfg") for n in names)
    assert "unknown" not in names
