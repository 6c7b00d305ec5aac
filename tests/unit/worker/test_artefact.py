"""Is it a bootable ISO9660 image? Tables of files, and what xorriso makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_worker.artefact import Found, look_at

SECTOR = 2048


def made_by_xorriso(folder: Path, *boot: str) -> Path:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is missing: apt install xorriso")
    tree = folder / "tree"
    tree.mkdir()
    (tree / "file").write_text("content")
    (tree / "boot.img").write_bytes(bytes(2048))
    image = folder / "image.iso"
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-R", *boot, "-o", str(image), str(tree)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    assert b"SORRY" not in done.stderr
    return image


def test_a_bootable_image(tmp_path: Path) -> None:
    image = made_by_xorriso(tmp_path, "-b", "boot.img", "-no-emul-boot")
    assert look_at(image) == Found(image.stat().st_size, iso9660=True, bootable=True)


def test_an_image_that_does_not_boot(tmp_path: Path) -> None:
    image = made_by_xorriso(tmp_path)
    assert look_at(image) == Found(image.stat().st_size, iso9660=True, bootable=False)


@pytest.mark.parametrize("damage", ["magic", "catalogue", "truncated"])
def test_a_damaged_boot_catalogue_does_not_boot(tmp_path: Path, damage: str) -> None:
    image = made_by_xorriso(tmp_path, "-b", "boot.img", "-no-emul-boot")
    data = bytearray(image.read_bytes())
    catalogue = int.from_bytes(data[17 * SECTOR + 71 : 17 * SECTOR + 75], "little") * SECTOR
    if damage == "magic":
        data[17 * SECTOR + 7] ^= 1
    elif damage == "catalogue":
        data[catalogue + 4] ^= 1
    else:
        del data[catalogue:]
    image.write_bytes(data)
    found = look_at(image)
    assert (found.iso9660, found.bootable) == (True, False)


def descriptor(kind: int, content: bytes = b"") -> bytes:
    return (bytes([kind]) + b"CD001\x01" + content).ljust(SECTOR, b"\0")


HEAD = bytes(16 * SECTOR)


@pytest.mark.parametrize(
    ("data", "iso9660"),
    [
        (b"", False),
        (b"dummy\n", False),
        (HEAD, False),
        (HEAD + descriptor(1)[:-1], False),
        (HEAD + descriptor(255), False),
        (HEAD + b"\x01CD002".ljust(SECTOR, b"\0"), False),
        (descriptor(1) + HEAD, False),
        (HEAD + descriptor(255) + descriptor(1), False),
        (HEAD + descriptor(1), True),
        (HEAD + descriptor(0) + descriptor(1), True),
        (HEAD + descriptor(0, b"EL TORITO SPECIFICATION".ljust(64, b"\0") + b"\xff" * 4) + descriptor(1), True),
    ],
)
def test_files_that_are_no_bootable_image(tmp_path: Path, data: bytes, iso9660: bool) -> None:
    (tmp_path / "x.iso").write_bytes(data)
    assert look_at(tmp_path / "x.iso") == Found(len(data), iso9660=iso9660, bootable=False)


def test_a_chain_of_descriptors_without_an_end_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "x.iso").write_bytes(HEAD + descriptor(2) * 64 + descriptor(1))
    assert not look_at(tmp_path / "x.iso").iso9660


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=4), st.binary(max_size=40))
def test_it_is_total(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], tail: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.iso"
    path.write_bytes(HEAD + b"".join(part.ljust(SECTOR, b"\0") for part in parts) + tail)
    assert look_at(path).bootable is False
