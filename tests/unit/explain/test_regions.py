"""The map covers every byte of whatever made the image, once."""

from __future__ import annotations

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


def test_the_layers_of_a_live_image_are_mapped_from_within(image: Path) -> None:
    regions = full_map(open_iso(FileSource(image), Limits()))
    cover(regions, image.stat().st_size)
    names = {r.name for r in regions}
    for name in ("live/filesystem.squashfs → superblock", "live/filesystem.squashfs → inode table", "GPT: header", "boot catalogue",
                 "primary volume descriptor", "Joliet tree: directory /live", "live/initrd.img"):  # fmt: skip
        assert name in names
    assert any(n.endswith("→ /EFI/BOOT/a.cfg") for n in names)
    assert "unknown" not in names
