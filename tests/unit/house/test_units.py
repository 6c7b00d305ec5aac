"""The systemd units are what systemd itself takes without a word, and keep their fences."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with a command that this machine has: verify looks for it."""
    text = request.param.read_text()
    copy = tmp_path / request.param.name
    copy.write_text(text.replace("/opt/silvermetal/.venv/bin/", "/bin/true "))
    # Units that ours name: this machine need not have them.
    for other in ("docker.service", "postgresql.service"):
        (tmp_path / other).write_text("[Service]\nExecStart=/bin/true\n")
    return copy


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=one", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_setting_is_noticed(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert "NoNewPrivilege" in analyze("verify", "--man=no", unit).stderr


def test_exposure_is_bounded(unit: Path) -> None:
    """Of 100, where a plain service has 96; the worker has to reach the engine, so its fence is lower."""
    bound = 25 if "master" in unit.name else 45
    done = analyze("security", "--offline=true", f"--threshold={bound}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    assert analyze("security", "--offline=true", f"--threshold={bound}", "--no-pager", unit).returncode != 0
