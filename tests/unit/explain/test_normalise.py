"""A file in a finished ISO is replaced: the same bytes at any moment, nothing else touched, and nothing half done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from silvermetal_explain.image.iso9660 import Iso
from silvermetal_explain.image.opening import layers_within, open_iso
from silvermetal_explain.image.source import FileSource
from silvermetal_explain.limits import Limits

from tests.cases.world import EPOCH, World, build, run

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
SQUASH = "/live/filesystem.squashfs"


def normalise(iso: Path, output: Path, **replaced: Path) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own: its memory limit is a process's."""
    argv = [
        sys.executable,
        "-m",
        "silvermetal_explain",
        "normalise",
        str(iso),
        "-o",
        str(output),
        "--epoch",
        str(EPOCH),
    ]
    for path, file in replaced.items():
        argv += ["--replace", f"{path}={file}"]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


def opened(path: Path) -> Iso:
    """An image."""
    return open_iso(FileSource(path), Limits())


def capable(world: World) -> None:
    """A program with a capability and one that belongs to somebody, in the root file system; both in the ISO's tree too."""
    for tree in ("root", "iso"):
        program = world.put("/usr/bin/ping", b"\x7fELF", tree)
        os.setxattr(program, "security.capability", CAPABILITY)
        os.chown(world.put("/srv/owned", "x\n", tree), 1000, 1000)
    # Only where it is told so does xorriso take attributes into the ISO's own tree, before the tree is mapped.
    world.xorriso_first += ["-xattr", "any"]


@pytest.fixture(scope="module")
def capable_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with capabilities in both."""
    probe = tmp_path_factory.mktemp("probe") / "file"
    probe.touch()
    try:
        os.setxattr(probe, "security.capability", CAPABILITY)
    except OSError as error:
        pytest.skip(f"this file system or user keeps no capabilities: {error}")
    return build(tmp_path_factory.mktemp("capable") / "a", 0, [capable])


def test_the_same_bytes_at_two_moments_and_the_rest_is_kept(image: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("another kernel\n")
    outputs = []
    for number, moment in enumerate((1_800_000_000, 1_900_000_000)):
        os.utime(new, (moment, moment))
        new.chmod(0o600 if number else 0o755)
        output = tmp_path / f"{number}.iso"
        done = normalise(image, output, **{"/live/vmlinuz": new})
        assert done.returncode == 0, done.stderr
        outputs.append(output.read_bytes())
        run("sleep", "1.1")  # another second of the clock, which must not show
    assert outputs[0] == outputs[1]
    assert b"another kernel" in outputs[0]


def test_boot_data_and_the_other_partitions_are_as_before(image: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("another kernel\n" * 9999)
    assert normalise(image, tmp_path / "out.iso", **{"/live/vmlinuz": new}).returncode == 0
    before, after = opened(image), opened(tmp_path / "out.iso")
    told = [
        {(f.name, f.value) for f in i.fields if "boot catalogue" in f.name and f.role == "cause"}
        for i in (before, after)
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 3
    fats = [
        {(p, d) for x in layers_within(i) if x.format == "fat" for p, (d, _) in x.hashes()} for i in (before, after)
    ]
    assert fats[0] == fats[1] != set()
    assert image.read_bytes()[:440] == (tmp_path / "out.iso").read_bytes()[:440], "the boot code of the MBR"


def test_capabilities_in_the_isos_own_tree_are_kept(capable_image: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("another kernel\n")
    done = normalise(capable_image, tmp_path / "out.iso", **{"/live/vmlinuz": new})
    assert done.returncode == 0, done.stderr
    for path in (capable_image, tmp_path / "out.iso"):
        values = [f.value for f in opened(path).entries["/usr/bin/ping"].fields if f.name == "system use 'AL'"]
        assert CAPABILITY.hex() in values[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], ""),
        (["-all-root"], "owner 0:0 of /srv/owned"),
        (["-no-xattrs"], "extended attributes none of /usr/bin/ping"),
    ],
)
def test_a_file_system_packed_anew_must_keep_owners_and_attributes(
    options: list[str], says: str, capable_image: Path, tmp_path: Path
) -> None:
    tree, new = tmp_path / "tree", tmp_path / "new.squashfs"
    run("cp", "-a", str(capable_image.parent / "root"), str(tree))
    (tree / "etc/more").write_text("a file that was not there\n")
    run("mksquashfs", str(tree), str(new), "-noappend", "-quiet", "-no-progress", *options)
    before = capable_image.read_bytes()
    done = normalise(capable_image, tmp_path / "out.iso", **{SQUASH: new})
    assert done.returncode == (3 if says else 0), done.stderr
    assert says in done.stderr
    assert (tmp_path / "out.iso").exists() == (not says)
    assert capable_image.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} <= {"new.squashfs", "tree", "out.iso"}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("echo 'libburn : SORRY : something was ignored' >&2", "SORRY"),
        ("exit 5", "exit code 5"),
        ('for w; do [ "$p" = -outdev ] && echo half > "$w"; p=$w; done; exit 0', "CD001"),
        ('for w; do [ "$p" = -outdev ] && echo half > "$w"; p=$w; done; kill -9 $$', "exit code -9"),
    ],
)
def test_whatever_xorriso_does_a_failure_leaves_the_image_that_was_to_be_replaced_as_it_was(
    lines: str, says: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, place = tmp_path / "tools", tmp_path / "place"
    tools.mkdir()
    place.mkdir()
    (tools / "xorriso").write_text(f"#!/bin/sh\n{lines}\n")
    (tools / "xorriso").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    target = place / "live.iso"
    shutil.copyfile(image, target)
    done = normalise(target, target, **{"/live/vmlinuz": tools / "xorriso"})
    assert done.returncode == 3
    assert says in done.stderr
    assert target.read_bytes() == image.read_bytes()
    assert [p.name for p in place.iterdir()] == ["live.iso"]


def test_it_replaces_an_image_in_its_own_place(image: Path, tmp_path: Path) -> None:
    target, new = tmp_path / "live.iso", tmp_path / "new"
    shutil.copyfile(image, target)
    new.write_text("another kernel\n")
    assert normalise(target, target, **{"/live/vmlinuz": new}).returncode == 0
    entry = opened(target).entries["/live/vmlinuz"]
    assert opened(target).open(entry).read(0, entry.size) == b"another kernel\n"


def test_what_is_not_in_the_image_cannot_be_replaced(image: Path, tmp_path: Path) -> None:
    done = normalise(image, tmp_path / "x.iso", **{"/no/such": image})
    assert done.returncode == 3
    assert "expected one to replace" in done.stderr
    assert list(tmp_path.iterdir()) == []
