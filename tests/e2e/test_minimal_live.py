"""minimal-live is byte-identical however the host around it varies: one variation, one test.

A variation that does not reach the tools proves nothing, so each test shows that its own did where that can be seen.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.engine import private_engine
from tests.support.live import ROOT, Build, Workshop

pytestmark = pytest.mark.e2e
VARY = ROOT / "scripts/silvermetal-vary"


def same(build: Build, reference: Build) -> None:
    assert build.info == reference.info
    if build.sha256 != reference.sha256:
        compared = subprocess.run(("cmp", build.iso, reference.iso), capture_output=True, text=True, timeout=60)
        pytest.fail(f"not the same bytes: {compared.stdout or compared.stderr}{build.iso.stat().st_size} bytes")


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


def varied(*factors: str) -> tuple[str, ...]:
    return str(VARY), *factors, "--"


@pytest.fixture(scope="module")
def disorder(workshop: Workshop) -> tuple[str, ...]:
    """The factor, where this machine and its engine can have it; a private engine may not see a mount made just now."""
    factor = ("directory_order=shuffled",)
    probe = workshop.run(workshop.checkout("disorder"), "--probe", prefix=varied(*factor))
    return factor if probe.returncode == 0 else ()


def test_the_container_has_what_was_varied(workshop: Workshop, disorder: tuple[str, ...]) -> None:
    """What no lever of build.sh fixes reaches into the container: a recipe that looks, and fails so that nothing is kept."""
    checkout = workshop.checkout("looks")
    recipe = checkout / "scripts/recipes/look"
    recipe.mkdir()
    shutil.copy(checkout / "config/minimal-live.conf", checkout / "config/look.conf")
    shutil.copy(checkout / "scripts/recipes/minimal-live/host.sh", recipe / "host.sh")
    (recipe / "build").write_text(
        "echo SEEN $(nproc) $(($(date +%s) - ACTUAL)) $(uname -m) $(uname -r | cut -c1-4) $(stat -f -c %T /tmp/work || echo none) "
        "$(uname -n) $(umask) ${TZ:-no} ${NO_FAKE_STAT}; exit 9\n".replace("ACTUAL", str(int(time.time())))
    )
    (recipe / "build").chmod(0o755)
    factors = ["cores=1", "clock_shift=864000", "personality=uname26", "host_name=elsewhere", "umask=0077"]
    factors += ["time_zone=Asia/Kathmandu", "user=1234", "locale=C", "hash_seed=5"]
    done = workshop.run(checkout, "--recipe", "look", prefix=varied(*factors, *disorder))
    assert "SEEN " in done.stdout, done.stdout
    seen = done.stdout.partition("SEEN ")[2].splitlines()[0].split()
    assert seen[0] == "1", done.stdout
    assert abs(int(seen[1]) - 864000) < 300
    assert seen[3] == "2.6."
    assert (seen[4] == "fuseblk") is bool(disorder)
    assert seen[5:] == ["silvermetal-builder", "0022", "UTC", "1"], "levers keep theirs"
    assert {p.name for p in checkout.parent.iterdir()} == {"checkout"}, "neither copy nor mount is left"


@pytest.mark.parametrize(
    "factors",
    [
        ("cores=1", "personality=linux32"),
        ("clock_shift=-34560000",),
        ("clock_shift=34560000", "user=4321"),
    ],
    ids="+".join,
)
def test_another_environment_inside(workshop: Workshop, reference: Build, factors: tuple[str, ...]) -> None:
    same(workshop.build("varied-" + "-".join(f.split("=")[0] for f in factors), prefix=varied(*factors)), reference)


def test_shuffled_directories(workshop: Workshop, reference: Build, disorder: tuple[str, ...]) -> None:
    if not disorder:
        pytest.skip(
            "disorderfs or /dev/fuse is missing (package disorderfs), or the engine sees no mount made just now"
        )
    # Under the work folder in the container: what xorriso, cpio, depmod and cp walk through lies there.
    same(workshop.build("shuffled", prefix=varied(*disorder)), reference)


def test_a_cold_cache(workshop: Workshop, reference: Build, tmp_path: Path) -> None:
    same(workshop.build("cold", store=tmp_path / "store"), reference)


def test_another_engine_in_which_directories_are_shuffled(workshop: Workshop, reference: Build, tmp_path: Path) -> None:
    archive = tmp_path / "builder.tar"
    made = subprocess.run(
        (workshop.origin / "scripts/bootstrap-builder.sh", "--archive", archive),
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stdout.strip() == workshop.image
    # Mounted in the engine's own namespace before it starts: a mount made later is not seen in every one.
    below, shuffled = tmp_path / "below", tmp_path / "shuffled"
    below.mkdir(mode=0o755)
    shuffled.mkdir()
    mount = ":"
    if shutil.which("disorderfs") is not None and Path("/dev/fuse").exists():
        mount = f"disorderfs -q --multi-user=yes --shuffle-dirents=yes {below} {shuffled}"
    try:
        with private_engine(mount) as other:
            loaded = other.docker("load", "--input", str(archive))
            assert loaded.returncode == 0, loaded.stderr
            assert other.image_id(workshop.image) == workshop.engine.image_id(workshop.image) == workshop.image
            seen = other.docker("run", "--rm", "--network", "none", "--mount", f"type=bind,source={shuffled},target=/mnt",
                                workshop.image, "stat", "-f", "-c", "%T", "/mnt")  # fmt: skip
            assert (seen.stdout.strip() == "fuseblk") is (mount != ":"), seen
            folder = {"SILVERMETAL_VARY_FOLDER": str(shuffled)} if mount != ":" else {}
            same(workshop.build("engine", engine=other, environment=folder), reference)
    finally:
        # It is alone in that namespace now, and its end is the mount's.
        subprocess.run(("pkill", "--full", "--exact", mount), stdin=subprocess.DEVNULL, timeout=30, check=False)


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
