"""scripts/setup.sh: wrong usage is refused, and a machine that is ready costs no time and no network."""

from __future__ import annotations

import configparser
import re
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "scripts" / "setup.sh"

pytestmark = pytest.mark.system


def setup(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SETUP, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_unknown_group_is_wrong_usage() -> None:
    done = setup("everything")
    assert done.returncode == 2
    assert "unknown argument 'everything'; expected one of: demo vm test --check" in done.stderr


def test_help_tells_the_groups() -> None:
    done = setup("--help")
    assert done.returncode == 0
    assert "scripts/demo.sh --hosts=vm" in done.stdout


def test_what_is_missing_is_named_and_nothing_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", SETUP, "test", "--check"],
        env={"PATH": "/usr/bin:/bin", "SILVERMETAL_VENV": f"{tmp_path}/venv"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"missing or out of date: {tmp_path}/venv with the Python packages of setup.cfg's [test]" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_every_requirement_is_pinned() -> None:
    """What constraints.txt leaves out would be the newest of its day, another one on each machine."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    wanted = [settings["options"]["install_requires"], *settings["options.extras_require"].values()]
    names = {re.split(r"[\s;\[<>=!~]", line, maxsplit=1)[0] for text in wanted for line in text.splitlines() if line}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert names - pinned - {"silvermetal-build-master"} == set()


def test_a_ready_machine_is_ready_in_a_second_and_in_silence() -> None:
    if setup("test", "--check").returncode != 0:
        pytest.skip("needs a machine made ready by scripts/setup.sh test")
    start = time.monotonic()
    for group in ("demo", "vm", "test"):
        done = setup(group)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - start < 3
