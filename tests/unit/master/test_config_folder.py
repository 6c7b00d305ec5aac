"""The repository's own ``config/`` passes Buildbot's check, and each thing broken in it is named by its path."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from silvermetal_master.errors import SettingsError
from silvermetal_master.settings import load
from silvermetal_master.site import make_secrets

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of config/ with secrets of its own."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder, ignore=shutil.ignore_patterns("secrets"))
    make_secrets(folder)
    return folder


def test_buildbot_checkconfig_passes(config: Path) -> None:
    done = subprocess.run(
        [str(BIN / "buildbot"), "checkconfig", str(config / "master.cfg")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=config,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Config file is good!" in done.stdout


def test_master_cfg_is_the_template_and_short() -> None:
    text = (ROOT / "config" / "master.cfg").read_text()
    assert text == (ROOT / "master/silvermetal_master/templates/master.cfg").read_text()
    assert len(text.splitlines()) <= 30


def _replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def _second_builder_on_one_host(folder: Path) -> None:
    text = (folder / "hosts/host-a.toml").read_text().replace('host = "host-a"', 'host = "host-c"')
    (folder / "hosts/host-c.toml").write_text(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_replace("master.toml", "[ledger]", "[ledger]\ncolour = 1"), ("master.toml", "ledger.colour")),
        (_replace("master.toml", "quorum = 2", "quorum = 1"), ("master.toml", "policy.quorum")),
        (_replace("master.toml", "quorum = 2", "quorum = 3"), ("master.toml", "policy.quorum", "2 hosts")),
        (_replace("master.toml", "quorum = 2", 'quorum = "2"'), ("master.toml", "policy.quorum")),
        (_replace("master.toml", "reserve = []", 'reserve = ["host-x"]'), ("policy.reserve", "host-x")),
        (_replace("master.toml", "deadline = 14400", "deadline = 100"), ("policy.build_timeout", "10800")),
        (_replace("master.toml", 'tags = "v[0-9].*"', 'tags = "v["'), ("repository.tags",)),
        (_replace("hosts/host-b.toml", 'worker = "host-b"', 'worker = "host-a"'), ("hosts/host-b.toml", "worker")),
        (_replace("hosts/host-b.toml", 'host = "host-b"', 'host = "host-z"'), ("hosts/host-b.toml", "host-z")),
        (_second_builder_on_one_host, ("hosts/host-c.toml", "worker")),
        (lambda folder: (folder / "secrets/worker-host-a").unlink(), ("secrets/worker-host-a", "no file")),
        (lambda folder: (folder / "secrets/hook").write_text(""), ("secrets/hook", "empty")),
        (lambda folder: (folder / "secrets/hook").chmod(0o644), ("secrets/hook", "0644")),
        (lambda folder: (folder / "master.toml").unlink(), ("master.toml", "got none")),
        (lambda folder: (folder / "master.toml").write_text("x = ["), ("master.toml", "expected TOML")),
    ],
)
def test_what_is_wrong_is_named_by_its_path(
    config: Path, change: Callable[[Path], None], says: tuple[str, ...]
) -> None:
    load(config)
    change(config)
    with pytest.raises(SettingsError) as caught:
        load(config)
    for word in says:
        assert word in str(caught.value)
