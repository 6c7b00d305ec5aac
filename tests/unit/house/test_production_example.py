"""``config/production.example.toml`` becomes a checked installation by the handbook's commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from silvermetal_master.settings import File
from silvermetal_worker import enrol

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "config" / "production.example.toml"
BIN = Path(sys.executable).parent
DMI = "5" * 64
HOSTS = {"host-a": "olga", "host-b": "oskar", "host-c": "oskar"}


def run(*argv: object, input: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in argv], input=input, capture_output=True, text=True, timeout=60, check=False)


def good(*argv: object, input: str = "") -> str:
    done = run(*argv, input=input)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The example with operators' keys of this test, secrets, and three enrolled and signed hosts."""
    config = tmp_path / "settings"
    config.mkdir()
    text = EXAMPLE.read_text()
    for name in ("olga", "oskar"):
        good(BIN / "silvermetal", "keygen", tmp_path / name)
        public = (tmp_path / f"{name}.pub").read_text().strip()
        text, count = re.subn(rf'(operator = "{name}"\npublic_key = )"[0-9a-f]{{64}}"', rf'\1"{public}"', text)
        assert count == 1
    (config / "master.toml").write_text(text)
    good(BIN / "silvermetal-master", "make-secrets", config)
    for host, operator in HOSTS.items():
        values = {"name": host, "host": host, "master": "build.example.org:9989", "store": str(tmp_path / "store")}
        enrol.init(tmp_path / host, values, f"password of {host}")
        public = (tmp_path / host / "keys" / "signing.pub").read_text().strip()
        argv = [BIN / "silvermetal-master", "enroll", config, host, "--public-key", public, "--operator", operator]
        good(
            *argv, "--site", f"site-{operator}", "--csr", tmp_path / host / "keys/tls.csr", input=f"password of {host}"
        )
        sign = [BIN / "silvermetal", "enroll", config / "hosts" / f"{host}.toml", "--key", tmp_path / operator]
        good(*sign, "--operator", operator, "--site", f"site-{operator}", "--dmi", DMI)
    for name in ("gitea-token", "gitea-login", "smtp-password"):
        secret = config / "secrets" / name
        secret.write_text("a secret that another server gave")
        secret.chmod(0o600)
    return config


def test_it_passes_check(installed: Path) -> None:
    said = good(BIN / "silvermetal-master", "check", installed)
    assert said.splitlines()[0] == f"{installed}: 3 hosts, quorum 2, recipe minimal-live"
    assert "host-c: signed by operator oskar" in said


def test_an_entry_that_its_operator_did_not_sign_does_not(installed: Path) -> None:
    entry = installed / "hosts" / "host-b.toml"
    entry.write_text(entry.read_text().replace("site-oskar", "site-olga"))
    done = run(BIN / "silvermetal-master", "check", installed)
    assert (
        done.returncode == 2 and "hosts/host-b.toml: operator_signature: expected one of operator oskar" in done.stderr
    )


def test_every_table_of_the_settings_stands_in_it() -> None:
    text = EXAMPLE.read_text()
    for name in File.model_fields:
        assert re.search(rf"^\[\[?{name}\]\]?$", text, re.MULTILINE), name
