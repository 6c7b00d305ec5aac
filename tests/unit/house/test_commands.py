"""Every command of `silvermetal`, of whichever package: `--json`, documented codes, one sentence for what is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from silvermetal_proof.cli import main
from silvermetal_proof.cli.ends import End

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
# A call whose first file is not there, and the code that it must end with.
CALLS: dict[str, tuple[str, int]] = {
    "attribute begin": (f"no/folder/file --build {'1' * 32} --digests {'2' * 64} {'3' * 64} umask=0077", 3),
    "attribute next": ("no.json", 3),
    "attribute report": ("no.json", 3),
    "attribute tried": (f"no.json --digest {'2' * 64}", 3),
    "audit": ("no.iso --build-info BUILD_INFO", 3),
    "diff": ("no.iso no.iso", 3),
    "enroll": ("no.toml --key no.key", 3),
    "excerpt": ("no.iso --want no.json -o out", 3),
    "inspect": ("no.json", 3),
    "keygen": ("no/folder/key", 3),
    "ledger check": (f"no --origin o --key {KEY}", 7),
    "manifest": ("no.iso -o out", 3),
    "map": ("no.iso", 3),
    "normalise": ("no.iso -o out --epoch 1", 3),
    "verify": (f"no --keys no --master-key {KEY} --origin o", 3),
    "verify-release": (f"no --keys keys --master-key {KEY} --origin o", 3),
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command that can be called, by its words."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


COMMANDS = dict(commands())


def call(name: str, *argv: str) -> Result:
    done = CliRunner().invoke(main, [*name.split(), *argv])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which nothing is that a call below names, but for what is needed to come so far."""
    monkeypatch.chdir(tmp_path)
    entry = {"host": "a", "worker": "a", "public_key": KEY, "operator": "o", "site": "s"}
    entry["valid_from"] = "2026-01-01T00:00:00Z"
    Path("keys").mkdir()
    Path("keys/a.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in entry.items()))
    Path("BUILD_INFO").write_text("")


def test_the_table_has_every_command() -> None:
    assert sorted(COMMANDS) == sorted(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_it_has_json_and_documents_its_codes(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)
    shown = call(name, "--help")
    text = " ".join(shown.stdout.split())
    assert shown.exit_code == 0
    codes = re.search(r"Exit codes: (0 [^.]*)", text)
    assert codes is not None, text
    documented = {int(n) for n in re.findall(r"(?:^|, )(\d+) ", codes[1])}
    assert CALLS[name][1] in documented
    assert documented in ({0, 1, 2, 3, 4}, {int(end) for end in End})


@pytest.mark.parametrize("name", CALLS)
def test_wrong_usage_has_its_own_code(name: str) -> None:
    assert call(name, "--no-such-option").exit_code == 2
    assert call(name).exit_code == 2


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_there_ends_with_its_code_and_one_sentence(name: str) -> None:
    argv, code = CALLS[name]
    done = call(name, *argv.split())
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("silvermetal: ")
    assert "no" in done.stderr


FLAGGED = [n for n, c in COMMANDS.items() if any("--json" in p.opts and getattr(p, "is_flag", False) for p in c.params)]


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("name", FLAGGED)
def test_a_failure_is_json_too(name: str) -> None:
    argv, code = CALLS[name]
    done = call(name, *argv.split(), "--json")
    assert (done.exit_code, done.stderr) == (code, "")
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert told["why"]


def test_only_those_whose_json_is_a_report_in_a_file_have_it_as_a_file() -> None:
    assert set(COMMANDS) - set(FLAGGED) == {"audit", "diff"}
