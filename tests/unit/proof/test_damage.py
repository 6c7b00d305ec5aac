"""Any damage to any file of a verdict's folder is told by code and name: one bit, a cut, a loss, a stranger."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from silvermetal_master.wait import write_sums
from silvermetal_proof.cli import ends
from silvermetal_proof.cli.ends import End
from silvermetal_proof.release import SUMS
from silvermetal_proof.verdict import Outcome

from tests.support.damage import Checked
from tests.unit.proof.makers import A, B
from tests.unit.proof.test_cli import MASTER, ORIGIN, _built, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    """A folder with a log and a list of all, as `silvermetal-master wait --copy-to` and the demo leave it."""
    folder = tmp_path_factory.mktemp("whole")
    assert write(folder / "out", _built(A), _built(B)) is Outcome.REPRODUCED
    (folder / "keys").mkdir()
    for path in (folder / "out" / "keys").glob("*.toml"):
        (folder / "keys" / path.name).write_bytes(path.read_bytes())
    (folder / "out" / "logs").mkdir()
    (folder / "out" / "logs" / "iso@host-a-04-build.stdio.log").write_text("built\n")
    (folder / "out" / "logs" / "empty.log").touch()
    write_sums(folder / "out")
    checked = Checked(folder / "out", folder / "keys", MASTER.public.hex, ORIGIN)
    assert checked.holds()["unproven"] == ["logs/empty.log", "logs/iso@host-a-04-build.stdio.log"]
    yield checked
    checked.holds()


NAMES = [
    "SHA256SUMS",
    "keys/host-a.toml",
    "keys/host-b.toml",
    "keys/master.pub",
    "ledger/checkpoint",
    "ledger/entries/000000000000",
    "ledger/entries/000000000001",
    "ledger/entries/000000000002",
    "logs/empty.log",
    "logs/iso@host-a-04-build.stdio.log",
    "packages.lock",
    "pins.json",
    "silvermetal.iso",
    "statements/host-a.json",
    "statements/host-b.json",
    "verdict.dsse.json",
]


def test_the_list_of_names_has_every_file(whole: Checked) -> None:
    assert whole.files() == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_first_middle_and_last_bit(whole: Checked, name: str) -> None:
    whole.flips(name, more=4)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bit(whole: Checked, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([n for n in NAMES if n != "logs/empty.log"]))
    size = (whole.folder / name).stat().st_size
    whole.flip(name, data.draw(st.integers(0, size * 8 - 1)))


@pytest.mark.parametrize("name", [n for n in NAMES if n != SUMS])
def test_lost_torn_and_unreadable(whole: Checked, name: str) -> None:
    whole.lost_torn_and_unreadable(name)


def test_strangers_and_a_list_that_is_gone(whole: Checked) -> None:
    whole.strangers()
    whole.without_its_list()


@pytest.mark.parametrize("name", ["keys/host-a.toml", "keys/host-b.toml", "keys/master.pub"])
def test_keys_taken_from_the_folder_itself_are_told_too(whole: Checked, name: str) -> None:
    """As in the README: what the key no longer fits, or the list of sums, says so; it may then name the host's statement."""
    own = Checked(whole.folder, whole.folder / "keys", whole.master_key, whole.origin)
    bits = (whole.folder / name).stat().st_size * 8
    for bit in range(0, bits, 37):
        own.flip(name, bit, {End.SIGNATURE, End.STATEMENTS, End.SUMS, End.UNREADABLE}, Path(name).stem)


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_fails_is_told(whole: Checked, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    really = Path.open

    def failing(path: Path, *args: object, **more: object) -> object:
        if path == whole.folder / name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return really(path, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", failing)
    end, said = whole.verify()
    assert end is End.UNREADABLE, said
    assert said["file"] == str(whole.folder / name)
    assert "Input/output error" in said["why"]


def test_every_code_is_documented() -> None:
    from silvermetal_proof.cli import main

    assert main.epilog is not None
    assert all(f" {end.value} " in f" {main.epilog}".replace(",", " ,") for end in ends.End)
