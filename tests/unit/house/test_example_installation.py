"""The repository's own ``config/`` is a whole example: with its secrets made, Buildbot itself accepts it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
from silvermetal_master.settings import load, needed_secrets

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


def run(*argv: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of ``config/`` with its secrets."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder, ignore=shutil.ignore_patterns("secrets", "master.pub"))
    done = run(str(BIN / "silvermetal-master"), "make-secrets", str(folder), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return folder


def checkconfig(config: Path) -> subprocess.CompletedProcess[str]:
    return run(
        str(BIN / "buildbot"), "checkconfig", str(config / "master.cfg"), cwd=config, SILVERMETAL_CONFIG=str(config)
    )


def test_buildbot_accepts_it(config: Path) -> None:
    done = checkconfig(config)
    assert (done.returncode, "Config file is good!" in done.stdout) == (0, True), done.stdout + done.stderr


def test_its_secrets_are_made_once_and_private(config: Path) -> None:
    settings = load(config)
    before = {p.name: p.read_bytes() for p in (config / "secrets").iterdir()}
    assert set(before) == set(needed_secrets(settings))
    assert len(set(before.values())) == len(before)
    assert {p.stat().st_mode & 0o777 for p in (config / "secrets").iterdir()} == {0o600}
    assert (config / "secrets").stat().st_mode & 0o077 == 0
    (config / "secrets" / "hook").unlink()
    done = run(str(BIN / "silvermetal-master"), "make-secrets", str(config), cwd=config)
    assert done.stdout.strip().endswith("secrets: hook")
    assert not [s for s in before.values() if s.decode().strip() in done.stdout]
    after = {p.name: p.read_bytes() for p in (config / "secrets").iterdir()}
    assert {n for n in before if before[n] != after[n]} == {"hook"}


def edit(name: str, pattern: str, new: str) -> Callable[[Path], None]:
    def change(config: Path) -> None:
        text, count = re.subn(pattern, new, (config / name).read_text(), count=1, flags=re.MULTILINE)
        assert count == 1, f"{name} has no {pattern}"
        (config / name).write_text(text)

    return change


BREAKS = {
    "unknown key": (edit("master.toml", r"^\[policy\]$", "[policy]\nquorun = 2"), "master.toml", "policy.quorun"),
    "quorum of one": (edit("master.toml", r"^quorum = .*$", "quorum = 1"), "master.toml", "policy.quorum"),
    "missing secret": (lambda c: (c / "secrets" / "hook").unlink(), "secrets/hook", "expected a secret"),
    "two builders on one host": (
        edit("hosts/host-b.toml", r"^host = .*$", 'host = "host-a"'),
        "hosts/host-b.toml",
        "host: expected one of its own, got host-a",
    ),
    "no host": (lambda c: (c / "hosts" / "host-b.toml").unlink(), "master.toml", "policy.quorum: expected at most the"),
    "no TOML": (edit("master.toml", r"^\[policy\]$", "[policy"), "master.toml", "expected TOML"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_one_thing_broken_is_named_with_its_path(config: Path, name: str) -> None:
    change, path, message = BREAKS[name]
    change(config)
    done = checkconfig(config)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert str(config / path) in told
    assert message in told
    short = run(str(BIN / "silvermetal-master"), "check", str(config), cwd=config)
    assert (short.returncode, short.stderr.count("\n"), message in short.stderr) == (2, 1, True), short.stderr


def test_master_cfg_is_the_packages_template_and_short() -> None:
    text = (ROOT / "config" / "master.cfg").read_bytes()
    assert text == resources.files("silvermetal_master").joinpath("templates/master.cfg").read_bytes()
    assert text.count(b"\n") <= 30


def test_every_key_of_the_settings_stands_in_the_example() -> None:
    from silvermetal_master import settings, telling_settings

    text = (ROOT / "config" / "master.toml").read_text()
    for kind in (
        settings.MasterSettings,
        settings.RepositorySettings,
        settings.PolicySettings,
        settings.LedgerSettings,
        telling_settings.ReconcileSettings,
        telling_settings.NoticesSettings,
        telling_settings.MailSettings,
        telling_settings.WebhookSettings,
        settings.GiteaSettings,
    ):
        for key, field in kind.model_fields.items():
            name = field.alias or key
            found = re.search(rf"^#? ?({name} = |\[notices\.{name}\]$)", text, re.MULTILINE)
            assert found, f"{kind.__name__}.{key}"


def test_the_examples_that_are_commented_out_are_settings_too(config: Path) -> None:
    file = config / "master.toml"
    table = re.compile(r"^# \[(?:notices\.\w+|gitea)\]\n(?:# \w+ = .*\n)+", re.MULTILINE)
    text, count = table.subn(lambda m: m[0].replace("# ", ""), file.read_text())
    assert count == 3
    # Another machine's address asks for workers that connect by TLS.
    file.write_text(text.replace("192.0.2.1:9990", "127.0.0.1:9990"))
    settings = load(config, secrets_needed=False)
    assert settings.gitea is not None and settings.notices.mail is not None and settings.notices.webhook is not None
    for name in ("gitea-token", "smtp-password"):
        (config / "secrets" / name).write_text("given by another server")
        (config / "secrets" / name).chmod(0o600)
    done = run(str(BIN / "silvermetal-master"), "make-secrets", str(config), cwd=config)
    assert done.stdout.strip().endswith("secrets: webhook")
    checked = checkconfig(config)
    assert (checked.returncode, "Config file is good!" in checked.stdout) == (0, True), checked.stdout + checked.stderr


def test_secrets_are_ignored_by_git() -> None:
    done = run("git", "check-ignore", "config/secrets/hook", cwd=ROOT)
    if "not a git repository" in done.stderr:
        pytest.skip("not a git checkout")
    assert done.returncode == 0
