"""What a master looks at before it starts: that it is alone, that its database is whole, that no verdict is unrecorded.

Rules:

- One master a folder: the lock is held by the process itself and ends with it, whatever way it ends.
- A database that is not whole is not started with: a sentence says so, nothing is repaired, nothing is written.
- A verdict that was decided and not recorded (a crash, a full disk) is signed and appended now, exactly once: the
  ledger is asked first.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.verdict import sign_verdict, verify_verdict

from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.errors import SettingsError
from silvermetal_master.settings import Settings
from silvermetal_master.signing import master_key, open_ledger

STATE_FOLDER = "silvermetal"
LOCK_FILE = ".lock"
_SQLITE = "sqlite:///"


def hold_alone(basedir: Path) -> int:
    """Take the folder's lock and keep it over ``exec``. :raises SettingsError: when another master has it."""
    descriptor = os.open(basedir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(
            f"{basedir}: expected no other master in this folder, got one that runs; stop it first"
        ) from None
    os.set_inheritable(descriptor, True)
    return descriptor


def check_database(basedir: Path, url: str) -> None:
    """:raises SettingsError: when the SQLite database is not whole. Another server's database is its own concern."""
    if not url.startswith(_SQLITE):
        return
    path = basedir / url.removeprefix(_SQLITE)
    if not path.exists():
        raise SettingsError(f"{path}: expected the master's database, got no file; restore the last backup")
    try:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA quick_check(3)")]
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        said, tables = [str(error)], set()
    if said != ["ok"] or "buildrequests" not in tables:
        got = "; ".join(said) if said != ["ok"] else "one without Buildbot's tables"
        raise SettingsError(f"{path}: expected a whole database, got: {got}; restore the last backup")


def _unrecorded(state: Path) -> list[BuildRecord]:
    """Builds with a verdict and without a note of its place in the ledger, oldest first."""
    folder = state / "builds"
    records = [BuildRecord(path) for path in folder.iterdir()] if folder.is_dir() else []
    found = [r for r in records if r.judged and not r.file("ledger-index").exists()]
    return sorted(found, key=lambda r: r.file("verdict.json").stat().st_mtime_ns)


def record_verdicts(settings: Settings, state: Path) -> list[str]:
    """Record what was decided and not recorded; return a sentence for each, also for one that cannot be recorded."""
    told = []
    pending = _unrecorded(state)
    if not pending:
        return told
    key, store = master_key(settings), BuildStore(state)
    ledger = open_ledger(settings, state)
    for record in pending:
        try:
            verdict = record.verdict
            places = {
                verify_verdict(ledger.entry(i), key.public).verdict.encode(): i for i in range(len(ledger.check()))
            }
            index = places.get(verdict.encode())
            if index is None:
                envelope = sign_verdict(verdict, key, settings.master.id)
                record.write("verdict.dsse.json", envelope)
                index = ledger.append(envelope, key)
            record.write("ledger-index", f"{index}\n".encode())
            newest = store.newest(record.request.ref) or {}
            if int(newest.get("ledger", -1)) < index:
                store.note(record.request.ref, {"build": record.id, "ledger": index})
            told.append(f"verdict of build {record.id}: recorded as entry {index} of the ledger")
        except (ProofError, OSError, ValueError) as error:
            told.append(f"verdict of build {record.id}: expected to record it, got {error}")
    return told
