"""``silvermetal-vary``: each factor really is in effect, is told as it is, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from silvermetal_proof.variation import FACTORS, Variation

from tests.support.processes import wait_until

pytestmark = pytest.mark.system
VARY = Path(__file__).parents[2] / "scripts" / "silvermetal-vary"
SEEN = {
    "path=a/b": ("pwd", "/.vary/a/b"),
    "host_name=elsewhere": ("hostname", "elsewhere"),
    "user=1234": ("id -u", "1234"),
    "umask=0027": ("umask", "0027"),
    "time_zone=Asia/Kathmandu": ("date +%Z", "+0545"),
    "locale=C": ("echo $LC_ALL $LANG", "C C"),
    "cores=1": ("nproc", "1"),
    "directory_order=shuffled": ("stat -f -c %T $TMPDIR", "fuseblk"),
    "directory_order=reversed": ("stat -f -c %T $TMPDIR", "fuseblk"),
    "personality=uname26": ("uname -r", "2.6."),
    "personality=linux32": ("uname -m", "i686"),
    "hash_seed=77": ("echo $PERL_HASH_SEED $PYTHONHASHSEED", "77 77"),
    "clock_shift=-34560000": ("date +%s", ""),
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "file").write_text("x")
    return folder


def call(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [VARY, "--applied", here.parent / "applied", *words]
    return subprocess.run(argv, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def alone(here: Path) -> bool:
    """Whether nothing but the checkout and the applied file is there, and no mount."""
    return {p.name for p in here.parent.iterdir()} <= {"checkout", "applied"} and str(here.parent) not in Path(
        "/proc/mounts"
    ).read_text()


@pytest.mark.parametrize("factor", SEEN)
def test_each_factor_is_in_effect(here: Path, factor: str) -> None:
    if factor.startswith("directory_order") and (shutil.which("disorderfs") is None or not Path("/dev/fuse").exists()):
        pytest.skip("this machine lacks disorderfs or /dev/fuse")
    command, expected = SEEN[factor]
    done = call(here, factor, "--", "sh", "-c", f"{command}; cat file; exit 7")
    assert done.returncode == 7, done.stderr
    said = done.stdout.removesuffix("x")
    if factor.startswith("clock"):
        assert abs(int(said) + 34560000 - time.time()) < 60
    else:
        assert expected in said
    applied = json.loads((here.parent / "applied").read_text())
    assert Variation.of_arguments(f"{k}={v}" for k, v in applied.items()) == Variation.of_arguments([factor])
    assert alone(here)


def test_all_names_are_those_of_the_record() -> None:
    said = subprocess.run([VARY, "nonesuch=1", "--", "true"], capture_output=True, text=True, timeout=60).stderr
    assert [n.strip() for n in said.partition("one of ")[2].split(",")] == list(FACTORS)


@pytest.mark.parametrize(
    "words", [["cores=1"], ["--", "true", "cores=1"], ["umask=9", "--", "true"], ["cores=1", "cores=2", "--", "true"]]
)
def test_a_wrong_call_is_told(here: Path, words: list[str]) -> None:
    if words[0] == "--":
        assert call(here, *words).returncode == 0, "what comes after -- is the command's"
    else:
        assert call(here, *words).returncode == 2


def test_a_command_that_is_not_there_is_told(here: Path) -> None:
    done = call(here, "path=a", "--", "no-such-program")
    assert done.returncode == 5
    assert "No such file" in done.stderr
    assert alone(here)


def test_two_runs_beside_one_another_do_not_mix(here: Path) -> None:
    mark = here.parent / "applied"
    first = subprocess.Popen(
        [VARY, "path=a", "--", "sh", "-c", f"touch {mark}; sleep 60"], cwd=here, stdin=subprocess.DEVNULL
    )
    try:
        wait_until(mark.exists, "the first run")
        done = call(here, "path=b", "--", "true")
        assert (done.returncode, "expected no other varied run" in done.stderr) == (5, True)
    finally:
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 128 + signal.SIGTERM
    assert alone(here)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_mount_outlives_it(here: Path, number: int) -> None:
    if shutil.which("disorderfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("this machine lacks disorderfs or /dev/fuse")
    mark = here.parent / "applied"
    argv = [VARY, "directory_order=shuffled", "--", "sh", "-c", f"touch {mark}; exec sleep 60"]
    process = subprocess.Popen(argv, cwd=here, stdin=subprocess.DEVNULL, start_new_session=True)
    wait_until(mark.exists, "the varied command")
    assert str(here.parent) in Path("/proc/mounts").read_text()
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.wait(30)
    wait_until(lambda: str(here.parent) not in Path("/proc/mounts").read_text(), "the mount's end")
    done = call(here, "path=a", "--", "true")
    assert done.returncode == 0, "what a killed one left is no obstacle"
    assert alone(here)
