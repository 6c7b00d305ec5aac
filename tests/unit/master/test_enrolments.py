"""An operator signs a host's entry by command; check holds the signatures against policy; revoke shuts a host out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from silvermetal_master.cli import main as master
from silvermetal_master.settings import load
from silvermetal_master.site import enrol, write_site
from silvermetal_proof.cli import main as proof
from silvermetal_proof.host import operator_signed
from silvermetal_proof.statement import SigningKey

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def call(command: object, *argv: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in argv])  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation that asks for I3, with two hosts and one known operator whose key is beside it."""
    site = tmp_path / "site"
    write_site(
        site,
        repository="https://git.example.org/x.git",
        recipe="minimal-live",
        url="http://127.0.0.1:8010/",
        web="tcp:8010",
        workers="tcp:9989",
        origin="example.org/ledger",
        min_independence=3,
    )
    for host in ("host-a", "host-b"):
        key = SigningKey.generate().public.hex
        enrol(site, host=host, worker=host, public_key=key, operator="olga", site="here", password="p" * 20, now=NOW)
    made = call(proof, "keygen", tmp_path / "olga", "--json")
    public = json.loads(made.output)["public"]
    with (site / "master.toml").open("a") as stream:
        stream.write(f'\n[[operators]]\noperator = "olga"\npublic_key = "{public}"\n')
    return site


def test_i3_asks_for_signatures_and_the_command_makes_them(folder: Path) -> None:
    refused = call(master, "check", folder)
    assert refused.exit_code == 2
    assert "host-a.toml: expected an operator's signature, as policy.min_independence is 3" in refused.output
    for host in ("host-a", "host-b"):
        file = folder / "hosts" / f"{host}.toml"
        done = call(proof, "enroll", file, "--key", folder.parent / "olga", "--dmi", "d" * 64, "--site", f"at-{host}")
        assert done.exit_code == 0 and "signed by operator olga" in done.output, done.output
    checked = call(master, "check", folder, "--json")
    assert checked.exit_code == 0, checked.output
    assert [(h["host"], h["signed"], h["site"]) for h in json.loads(checked.output)["hosts"]] == [
        ("host-a", True, "at-host-a"),
        ("host-b", True, "at-host-b"),
    ]


def test_a_signature_of_another_key_or_over_another_entry_is_refused_at_any_policy(folder: Path) -> None:
    file = folder / "hosts" / "host-a.toml"
    (folder / "master.toml").write_text(
        (folder / "master.toml").read_text().replace("min_independence = 3", "min_independence = 1")
    )
    assert call(master, "check", folder).exit_code == 0
    call(proof, "keygen", folder.parent / "mallory")
    assert call(proof, "enroll", file, "--key", folder.parent / "mallory").exit_code == 0
    refused = call(master, "check", folder)
    assert refused.exit_code == 2 and "host-a.toml: operator_signature: expected one of operator olga" in refused.output
    assert call(proof, "enroll", file, "--key", folder.parent / "olga").exit_code == 0
    assert call(master, "check", folder).exit_code == 0
    file.write_text(file.read_text().replace('site = "here"', 'site = "there"'))
    assert call(master, "check", folder).exit_code == 2


@pytest.mark.parametrize("broken", ["entry", "key", "no key"])
def test_what_cannot_be_signed_changes_nothing(folder: Path, broken: str) -> None:
    file, key = folder / "hosts" / "host-a.toml", folder.parent / "olga"
    if broken == "entry":
        file.write_text("host = 7")
    elif broken == "key":
        key.write_text("no key")
    else:
        key.unlink()
    before = file.read_text()
    done = call(proof, "enroll", file, "--key", key, "--json")
    assert done.exit_code == (4 if broken == "key" else 3), done.output
    assert json.loads(done.output)["ok"] is False
    assert file.read_text() == before


def test_revoke_shuts_out_and_keeps_the_operators_signature(folder: Path) -> None:
    file = folder / "hosts" / "host-a.toml"
    call(proof, "enroll", file, "--key", folder.parent / "olga")
    done = call(master, "revoke", folder, "host-a", "--reason", 'the "disk" was stolen', "--json")
    assert done.exit_code == 0, done.output
    settings = load(folder, judging=True)
    entry = settings.host("host-a")
    assert entry is not None and entry.revoked == json.loads(done.output)["revoked"]
    assert entry.revocation_reason == 'the "disk" was stolen'
    assert operator_signed(entry, settings.operators) is None
    again = call(master, "revoke", folder, "host-a", "--reason", "again")
    assert again.exit_code == 2 and "got one revoked" in again.output
    assert call(master, "revoke", folder, "nobody", "--reason", "x").exit_code == 2
