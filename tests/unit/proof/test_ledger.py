"""The ledger on disk: damage is refused, and it survives death at any write and many writers."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_proof.errors import LedgerError
from silvermetal_proof.ledger import (
    Checkpoint,
    Ledger,
    root_hash,
    sign_checkpoint,
    store,
)
from silvermetal_proof.ledger.store import MAX_ENTRY_BYTES, write_durably

from tests.unit.proof.makers import B, key_of

KEY = key_of("master")
ORIGIN = "example.org/ledger"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger", ORIGIN, KEY.public)


def fill(ledger: Ledger, count: int) -> None:
    for number in range(count):
        assert ledger.append(f"entry {number}".encode(), KEY) == number


def test_entries_come_back_under_a_checkpoint(ledger: Ledger) -> None:
    fill(ledger, 5)
    assert [ledger.entry(i) for i in range(5)] == [f"entry {i}".encode() for i in range(5)]
    checkpoint = ledger.checkpoint()
    assert checkpoint == Checkpoint(ORIGIN, 5, root_hash(ledger.leaves()))
    assert sorted(p.name for p in ledger.path.iterdir()) == [".lock", "checkpoint", "entries"]
    assert [p.name for p in sorted((ledger.path / "entries").iterdir())] == [f"{i:012}" for i in range(5)]


def test_an_entry_of_any_bytes_up_to_the_limit(ledger: Ledger) -> None:
    assert ledger.append(b"", KEY) == 0
    assert ledger.append(bytes(range(256)), KEY) == 1
    with pytest.raises(LedgerError, match=f"too large: expected at most {MAX_ENTRY_BYTES} bytes"):
        ledger.append(bytes(MAX_ENTRY_BYTES + 1), KEY)
    assert ledger.append(b"after", KEY) == 2


def _alter(ledger: Ledger) -> None:
    (ledger.path / "entries" / "000000000001").write_bytes(b"entry X")


def _truncate(ledger: Ledger) -> None:
    (ledger.path / "entries" / "000000000002").unlink()


def _gap(ledger: Ledger) -> None:
    (ledger.path / "entries" / "000000000001").unlink()


def _swap(ledger: Ledger) -> None:
    entries = ledger.path / "entries"
    (entries / "000000000001").rename(entries / "x")
    (entries / "000000000002").rename(entries / "000000000001")
    (entries / "x").rename(entries / "000000000002")


def _shorten(ledger: Ledger) -> None:
    (ledger.path / "entries" / "000000000000").write_bytes(b"")


def _no_checkpoint(ledger: Ledger) -> None:
    (ledger.path / "checkpoint").unlink()


def _fork(ledger: Ledger) -> None:
    other = Ledger(ledger.path.with_name("fork"), ORIGIN, KEY.public)
    for text in (b"entry 0", b"forged"):
        other.append(text, KEY)
    (ledger.path / "checkpoint").write_bytes((other.path / "checkpoint").read_bytes())


def _other_signer(ledger: Ledger) -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 3, root_hash(ledger.leaves())), B.key)
    (ledger.path / "checkpoint").write_bytes(note)


def _torn_checkpoint(ledger: Ledger) -> None:
    path = ledger.path / "checkpoint"
    path.write_bytes(path.read_bytes()[:-10])


def _huge(ledger: Ledger) -> None:
    with (ledger.path / "entries" / "000000000001").open("wb") as stream:
        stream.truncate(MAX_ENTRY_BYTES + 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_alter, "was altered: expected root [0-9a-f]{64} over 3 entries"),
        (_shorten, "was altered"),
        (_swap, "was altered"),
        (_fork, "was altered"),
        (_truncate, "is truncated: expected 3 entries, got 2 entries"),
        (_gap, "an entry is missing: expected entry 000000000001"),
        (_no_checkpoint, "checkpoint is missing"),
        (_other_signer, "signed by another key"),
        (_torn_checkpoint, "not a checkpoint"),
        (_huge, "entry 1 is too large"),
    ],
)
def test_a_damaged_ledger_is_refused_and_not_appended_to(ledger: Ledger, damage: object, message: str) -> None:
    fill(ledger, 3)
    assert callable(damage)
    damage(ledger)
    before = {p: p.read_bytes() for p in ledger.path.rglob("*") if p.is_file()}
    with pytest.raises(LedgerError, match=message):
        ledger.check()
    with pytest.raises(LedgerError, match=message):
        ledger.append(b"more", KEY)
    assert {p: p.read_bytes() for p in ledger.path.rglob("*") if p.is_file()} == before


def test_the_only_entry_without_its_checkpoint_is_refused(ledger: Ledger) -> None:
    fill(ledger, 1)
    _no_checkpoint(ledger)
    with pytest.raises(LedgerError, match="checkpoint is missing"):
        ledger.append(b"more", KEY)


def test_a_rewound_ledger_fails_against_the_checkpoint_that_was_seen(ledger: Ledger) -> None:
    """Rewinding entries and checkpoint together is consistent in itself: what was seen before tells (`--since`)."""
    fill(ledger, 2)
    old = (ledger.path / "checkpoint").read_bytes()
    ledger.append(b"third", KEY)
    seen = ledger.checkpoint()
    assert seen is not None
    (ledger.path / "entries" / "000000000002").unlink()
    (ledger.path / "checkpoint").write_bytes(old)
    assert len(ledger.check()) < seen.size


STEPS = ("open", "fsync", "link", "replace", "unlink")


class _Killed(BaseException):
    """Death: no handler of ours may catch it."""


def _die_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Raise instead of system call number ``moment``, and at each one after it: the process is gone."""
    count = iter(range(1000))
    dead = False

    def wrap(function: object) -> object:
        def wrapped(*args: object, **kwargs: object) -> object:
            nonlocal dead
            dead = dead or next(count) >= moment
            if dead:
                raise _Killed
            assert callable(function)
            return function(*args, **kwargs)

        return wrapped

    for name in ("open", "fsync", "link"):
        monkeypatch.setattr(store.os, name, wrap(getattr(os, name)))
    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, wrap(getattr(Path, name)))


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("deaths", [1, 2, 3])
@pytest.mark.parametrize("moment", range(20))
def test_death_at_any_write_loses_nothing_and_stops_nothing(
    ledger: Ledger, before: int, deaths: int, moment: int
) -> None:
    fill(ledger, before)
    died = 0
    for _ in range(deaths):
        with pytest.MonkeyPatch.context() as patch:
            _die_at(patch, moment)
            try:
                ledger.append(b"dying", KEY)
            except _Killed:
                died += 1
    leaves = ledger.check()
    assert before <= len(leaves) <= before + deaths
    index = ledger.append(b"after", KEY)
    assert index == len(leaves)
    kept = [ledger.entry(i) for i in range(index)]
    assert kept == [f"entry {i}".encode() for i in range(before)] + [b"dying"] * (index - before)
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    assert checkpoint.size == index + 1 == len(ledger.check())
    assert died == deaths or moment > 5, "an early moment is within every append"


def test_stray_temporary_files_do_not_count(ledger: Ledger) -> None:
    fill(ledger, 2)
    for name in (".000000000002.1.tmp", "README", "0", "0000000000003", "00000000000x"):
        (ledger.path / "entries" / name).write_bytes(b"half")
    assert len(ledger.check()) == 2
    assert ledger.append(b"third", KEY) == 2


def _appender(path: Path, name: str, count: int) -> None:
    ledger = Ledger(path, ORIGIN, KEY.public)
    for number in range(count):
        ledger.append(f"{name} {number}".encode(), KEY)


def test_processes_that_append_at_once_lose_nothing(ledger: Ledger) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_appender, args=(ledger.path, str(i), 6)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(ledger.check()) == 24
    found = [ledger.entry(i).decode() for i in range(24)]
    assert sorted(found) == sorted(f"{i} {n}" for i in range(4) for n in range(6))
    for name in "0123":
        assert [e for e in found if e.startswith(name)] == [f"{name} {n}" for n in range(6)], "each in its order"


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[BaseException]]:
    problems: list[BaseException] = []

    def write(text: bytes) -> None:
        try:
            for _ in range(25):
                write_durably(tmp_path / "note", text, replace=True)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(bytes([65 + i]) * 4000,)) for i in range(4)]
    for thread in threads:
        thread.start()
    yield problems
    for thread in threads:
        thread.join(60)


def test_threads_that_write_one_file_at_once_leave_it_whole(writers: list[BaseException], tmp_path: Path) -> None:
    for _ in range(200):
        if (tmp_path / "note").exists():
            data = (tmp_path / "note").read_bytes()
            assert data == data[:1] * 4000
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(60)
    assert writers == []


def test_a_durable_file_is_never_replaced_unasked_and_keeps_its_mode(tmp_path: Path) -> None:
    write_durably(tmp_path / "secret", b"1", replace=False, mode=0o600)
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "secret", b"2", replace=False)
    assert (tmp_path / "secret").read_bytes() == b"1"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]
