"""`silvermetal verify-release`: a release that holds, and each way in which one does not, with its exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from silvermetal_outside.command import verify_release
from silvermetal_proof.cli.ends import End

from tests.unit.proof.makers import A, key_of
from tests.unit.proof.released import EARLIER, seal_sums, write_release
from tests.unit.proof.test_cli import MASTER, ORIGIN


class World:
    """A release, the reader's keys, the reader's memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder, self.keys = path / "v1", path / "keys"
        self.verdict = write_release(self.folder, self.keys)

    def file(self, pattern: str) -> Path:
        (found,) = self.folder.glob(pattern)
        return found

    def check(self, *more: str, release: Path | str | None = None, master: str = MASTER.public.hex) -> Result:
        argv = [str(release or self.folder), "--keys", str(self.keys), "--master-key", master, "--origin", ORIGIN]
        result = CliRunner().invoke(verify_release, [*argv, "--state", str(self.path / "state"), *more])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_release_that_holds(world: World) -> None:
    result = world.check()
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (End.HOLDS, "everything in the release holds")
    told = json.loads(world.check("--json", "--ledger", str(world.path / "v1-ledger")).stdout)
    assert (told["ok"], told["commit"], told["ledger_compared"]) == (True, world.verdict.commit, True)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def _sums(world: World) -> None:
    path = world.folder / "SHA256SUMS"
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))


def _resigned(change: Callable[[World], None]) -> Callable[[World], None]:
    def both(world: World) -> None:
        change(world)
        seal_sums(world.folder)

    return both


def _revoked(world: World) -> None:
    path = world.keys / f"{A.name}.toml"
    path.write_text(path.read_text() + 'revoked = "2020-06-01T00:00:00Z"\n')
    path.write_text(path.read_text().replace(A.entry.valid_from, "2020-01-01T00:00:00Z"))


DAMAGE: dict[str, tuple[Callable[[World], object], End]] = {
    "swapped ISO": (lambda w: _append(w.file("*.iso")), End.ISO),
    "swapped ISO, list signed again": (_resigned(lambda w: _append(w.file("*.iso"))), End.ISO),
    "swapped BUILD_INFO": (lambda w: _append(w.file("BUILD_INFO")), End.SUMS),
    "swapped statement": (lambda w: _append(w.file("statement-host-a.json")), End.STATEMENTS),
    "swapped statement, list signed again": (
        _resigned(lambda w: _append(w.file("statement-host-a.json"))), End.STATEMENTS,
    ),
    "swapped lock, list signed again": (_resigned(lambda w: _append(w.file("packages.lock"))), End.STATEMENTS),
    "edited sums": (_sums, End.SIGNATURE),
    "no minisign signature": (lambda w: w.file("SHA256SUMS.minisig").unlink(), End.UNREADABLE),
    "no SSH signature": (lambda w: w.file("SHA256SUMS.sig").unlink(), End.UNREADABLE),
    "missing statement": (lambda w: w.file("statement-host-b.json").unlink(), End.STATEMENTS),
    "missing statement, list signed again": (
        _resigned(lambda w: w.file("statement-host-b.json").unlink()), End.STATEMENTS,
    ),
    "missing ISO": (lambda w: w.file("*.iso").unlink(), End.ISO),
    "a file more": (lambda w: (w.folder / "install.sh").write_text("rm -rf /"), End.SUMS),
    "a link for a file": (
        lambda w: (shutil.move(w.file("BUILD_INFO"), w.path / "x"), (w.folder / "BUILD_INFO").symlink_to("../x")),
        End.SUMS,
    ),
    "revoked key": (_revoked, End.SIGNATURE),
    "a host's key is not known": (lambda w: (w.keys / "host-a.toml").unlink(), End.SIGNATURE),
    "no key at all": (lambda w: [p.unlink() for p in w.keys.iterdir()], End.UNREADABLE),
    "edited proof, list signed again": (
        _resigned(
            lambda w: w.file("ledger-proof.json").write_bytes(
                w.file("ledger-proof.json").read_bytes().replace(b'"index":1', b'"index":0')
            )
        ),
        End.LEDGER,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_what_does_not_hold_has_its_code_and_names_its_file(world: World, name: str) -> None:
    damage, end = DAMAGE[name]
    damage(world)
    result = world.check("--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["end"]) == (end, end.name), told
    assert not (world.path / "state").exists(), "what does not hold is not remembered"


@pytest.mark.parametrize(
    ("more", "end"),
    [(("--threshold", "3"), End.POLICY), (("--min-independence", "4"), End.POLICY), (("--threshold", "1"), End.USAGE)],
)
def test_who_asks_for_more_than_was_met_is_refused(world: World, more: tuple[str, str], end: End) -> None:
    assert world.check(*more).exit_code == end


def test_another_masters_key_is_refused(world: World) -> None:
    assert world.check(master=key_of("mallory").public.hex).exit_code == End.SIGNATURE
    assert world.check(master="nonsense").exit_code == End.USAGE


def _other(world: World, name: str, **more: object) -> Path:
    write_release(world.path / name, world.keys, **more)  # type: ignore[arg-type]
    return world.path / name


def test_a_ledger_that_was_rewound_is_caught_by_who_saw_it(world: World) -> None:
    assert world.check().exit_code == End.HOLDS
    rewound = _other(world, "v2", earlier=(b"another past",), at="2026-01-05T00:00:00Z")
    result = world.check(release=rewound)
    assert (result.exit_code, "forked or rewound" in result.stderr) == (End.LEDGER, True)


def test_a_later_verdict_at_an_earlier_place_is_a_rewind(world: World) -> None:
    assert world.check().exit_code == End.HOLDS
    rewound = _other(world, "v2", earlier=(), later=(b"x", b"y", b"z"), at="2036-01-01T00:00:00Z")
    result = world.check(release=rewound)
    assert (result.exit_code, "not in the order" in result.stderr) == (End.LEDGER, True)


def test_a_copy_of_the_ledger_shows_what_the_proof_alone_cannot(world: World) -> None:
    assert world.check().exit_code == End.HOLDS
    envelope = world.file("verdict.dsse.json").read_bytes()
    grown = _other(world, "v2", earlier=(*EARLIER, envelope), at="2036-01-01T00:00:00Z")
    forked = _other(world, "v3", earlier=(b"another", b"past", b"altogether"), at="2036-01-01T00:00:00Z")
    assert world.check("--ledger", str(world.path / "v2-ledger"), release=grown).exit_code == End.HOLDS
    result = world.check("--ledger", str(world.path / "v3-ledger"), release=forked)
    assert (result.exit_code, "does not hold what was seen" in result.stderr) == (End.LEDGER, True)
