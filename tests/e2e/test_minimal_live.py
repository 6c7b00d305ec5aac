"""minimal-live is byte-identical however the host around it varies: one variation, one test.

A variation that does not reach the tools proves nothing, so each test shows that its own did where that can be seen.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.engine import private_engine
from tests.support.live import Build, Workshop

pytestmark = pytest.mark.e2e
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def same(build: Build, reference: Build) -> None:
    assert build.info == reference.info
    if build.sha256 != reference.sha256:
        compared = subprocess.run(("cmp", build.iso, reference.iso), capture_output=True, text=True, timeout=60)
        pytest.fail(f"not the same bytes: {compared.stdout or compared.stderr}{build.iso.stat().st_size} bytes")


def docker_with(folder: Path, create: tuple[str, ...]) -> dict[str, str]:
    """A `docker` before the real one in PATH, which adds options to `create`: the host changes, build.sh does not."""
    folder.mkdir()
    shim = folder / "docker"
    shim.write_text(
        f'#!/bin/sh\nif [ "$1" = create ]; then shift; set -- create {shlex.join(create)} "$@"; fi\n'
        f'exec {shutil.which("docker")} "$@"\n'
    )
    shim.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def bind(source: Path, target: str) -> tuple[str, str]:
    return "--mount", f"type=bind,source={source},target={target}"


def test_the_output_is_complete_and_says_nothing_too_early(workshop: Workshop, reference: Build) -> None:
    names = {path.name for path in reference.output.iterdir()}
    assert names == {reference.iso.name, "SHA256SUMS", "BUILD_INFO", "packages.lock", "build.log"}
    assert (reference.output / "SHA256SUMS").read_text() == f"{reference.sha256}  {reference.iso.name}\n"
    # the sealing rule: no worker reads another one's hash in a log
    assert reference.sha256 not in reference.printed
    assert reference.sha256 not in (reference.output / "build.log").read_text()
    assert (reference.output / "packages.lock").read_bytes() == workshop.lock.read_bytes()
    lines = reference.info.splitlines()
    assert lines == sorted(lines)
    pins = dict(line.split("=", 1) for line in lines)
    assert pins["EFFECTIVE_SOURCE_DATE_EPOCH"] == pins["SOURCE_DATE_EPOCH"] == "1767323045"
    assert (pins["TZ"], pins["LC_ALL"], pins["UMASK"], pins["TREE"]) == ("UTC", "C.UTF-8", "0022", "clean")
    assert pins["BUILDER_IMAGE_ID"] == workshop.image


def test_another_path(workshop: Workshop, reference: Build) -> None:
    same(workshop.build("another path, with blanks/and ümlauts/below"), reference)


def test_another_host_name(workshop: Workshop, reference: Build) -> None:
    inside = ("unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$0" "$@"')
    same(workshop.build("host-name", prefix=inside), reference)


@pytest.mark.parametrize("umask", [0o077, 0o000], ids=oct)
def test_another_umask_of_clone_and_build(workshop: Workshop, reference: Build, umask: int) -> None:
    build = workshop.build(f"umask-{umask:o}", umask=umask, clone_umask=umask)
    init = workshop.folder / f"umask-{umask:o}/checkout/scripts/recipes/minimal-live/init"
    assert init.stat().st_mode & 0o777 == 0o777 & ~umask
    same(build, reference)


def test_another_time_zone(workshop: Workshop, reference: Build) -> None:
    same(workshop.build("time-zone", environment={"TZ": "Asia/Kathmandu"}), reference)


def test_another_language(workshop: Workshop, reference: Build) -> None:
    german = {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}
    same(workshop.build("language", environment=german), reference)


def test_one_core(workshop: Workshop, reference: Build, tmp_path: Path) -> None:
    one = docker_with(tmp_path / "bin", ("--cpuset-cpus", "0"))
    same(workshop.build("one-core", "--jobs", "1", environment=one), reference)


@pytest.mark.parametrize("shift", ["-400d", "+400d"])
def test_a_shifted_clock(workshop: Workshop, reference: Build, tmp_path: Path, shift: str) -> None:
    if not FAKETIME.exists():
        pytest.skip(f"{FAKETIME} is missing (package libfaketime)")
    # By files, because the recipe's clean environment would take LD_PRELOAD away. What files say of their own times
    # must stay true (NO_FAKE_STAT), which only the environment can tell: so `env -i` is made to add it.
    (tmp_path / "preload").write_text("/faketime.so\n")
    (tmp_path / "faketimerc").write_text(shift + "\n")
    (tmp_path / "env").write_text(
        '#!/bin/sh\n[ "$1" = -i ] && shift && set -- -i NO_FAKE_STAT=1 "$@"\nexec /env "$@"\n'
    )
    (tmp_path / "env").chmod(0o755)
    mounts = (
        *bind(FAKETIME, "/faketime.so"),
        *bind(tmp_path / "preload", "/etc/ld.so.preload"),
        *bind(tmp_path / "faketimerc", "/etc/faketimerc"),
        *bind(Path("/usr/bin/env"), "/env"),
        *bind(tmp_path / "env", "/usr/bin/env"),
    )
    seen = workshop.engine.docker("run", "--rm", "--network", "none", *mounts, workshop.image, "date", "-u", "+%Y%m%d")
    assert seen.stdout.strip() != subprocess.check_output(("date", "-u", "+%Y%m%d"), text=True).strip(), seen
    same(workshop.build(f"clock{shift}", environment=docker_with(tmp_path / "bin", mounts)), reference)


def test_shuffled_directories(workshop: Workshop, reference: Build, tmp_path: Path) -> None:
    if shutil.which("disorderfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("disorderfs or /dev/fuse is missing (package disorderfs)")
    # Under the work folder in the container: what xorriso, cpio, depmod and cp walk through lies there.
    below, shuffled = tmp_path / "below", tmp_path / "shuffled"
    below.mkdir()
    shuffled.mkdir()
    options = ("--multi-user=yes", "--shuffle-dirents=yes")
    subprocess.run(("disorderfs", *options, below, shuffled), check=True, capture_output=True, timeout=30)
    try:
        for number in range(30):
            (below / f"{number:02}").mkdir()
        assert len({tuple(shuffled.iterdir()) for _ in range(5)}) > 1
        for folder in list(below.iterdir()):
            folder.rmdir()
        mount = docker_with(tmp_path / "bin", bind(shuffled, "/tmp/work"))
        same(workshop.build("shuffled", environment=mount), reference)
    finally:
        subprocess.run(("umount", shuffled), check=True, timeout=30)


def test_a_cold_cache(workshop: Workshop, reference: Build, tmp_path: Path) -> None:
    same(workshop.build("cold", store=tmp_path / "store"), reference)


def test_another_engine(workshop: Workshop, reference: Build, tmp_path: Path) -> None:
    archive = tmp_path / "builder.tar"
    made = subprocess.run(
        (workshop.origin / "scripts/bootstrap-builder.sh", "--archive", archive),
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stdout.strip() == workshop.image
    with private_engine() as other:
        loaded = other.docker("load", "--input", str(archive))
        assert loaded.returncode == 0, loaded.stderr
        assert other.image_id(workshop.image) == workshop.engine.image_id(workshop.image) == workshop.image
        same(workshop.build("engine", engine=other), reference)


def test_an_injected_host_name_shows(workshop: Workshop, reference: Build) -> None:
    """The test aid of the demo: two hosts differ, in the file that was named, and the image is still a bootable one."""
    inside = ("unshare", "--uts", "sh", "-c", 'hostname host-b && exec "$0" "$@"')
    build = workshop.build("injected", "--inject-host-name", "/etc/built-on", prefix=inside)
    assert build.info == reference.info
    assert build.sha256 != reference.sha256
    tree = workshop.folder / "injected/tree"
    for image in (build, reference):
        extract = ("xorriso", "-osirrox", "on", "-indev", image.iso, "-extract", "/live/filesystem.squashfs")
        subprocess.run((*extract, tree / image.sha256), check=True, capture_output=True, timeout=60)
    built_on = ("unsquashfs", "-cat", tree / build.sha256, "etc/built-on")
    assert subprocess.check_output(built_on, text=True, timeout=60) == "host-b\n"
    report = ("xorriso", "-indev", build.iso, "-report_el_torito", "plain")
    boots = subprocess.run(report, check=True, capture_output=True, text=True, timeout=60).stdout
    assert " BIOS " in boots
    assert " UEFI " in boots
