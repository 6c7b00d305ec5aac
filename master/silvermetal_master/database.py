"""Buildbot's database: one URL in, what Buildbot's engine needs out.

Rules:

- The driver is named: ``postgresql://`` means another driver with each major version of SQLAlchemy.
- SQLite keeps its connections open and syncs at checkpoints only (WAL). Power loss may take the last transactions,
  never integrity; verdicts and the ledger are files of their own, each synced.
- A database that is not whole is not started with: a sentence says so, nothing is repaired, nothing is written.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.pool import QueuePool

from silvermetal_master.errors import SettingsError

BUSY_SECONDS = 30
_SQLITE = "sqlite:///"


class TunedConnection(sqlite3.Connection):
    """A connection to SQLite that syncs at checkpoints."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("pragma synchronous = normal")


def engine_settings(url: str) -> dict[str, Any]:
    """Buildbot's ``c['db']`` for ``url``. :raises SettingsError: for another kind of database or driver."""
    kind = url.partition(":")[0]
    if kind == "sqlite":
        connect = {"factory": TunedConnection, "timeout": BUSY_SECONDS}
        return {"db_url": url, "engine_kwargs": {"poolclass": QueuePool, "connect_args": connect}}
    if kind == "postgresql+psycopg":
        return {"db_url": url, "engine_kwargs": {"pool_pre_ping": True}}
    rest = url.partition("://")[2]
    hint = "postgresql+psycopg://" if kind.startswith("postgres") and rest else "sqlite:/// or postgresql+psycopg://"
    raise SettingsError(f"master.database: expected a URL that begins with {hint}, got {kind[:40]}://")


def sqlite_file(basedir: Path, url: str) -> Path | None:
    """The file of a SQLite database; None for another server's."""
    return basedir / url.removeprefix(_SQLITE) if url.startswith(_SQLITE) else None


def check_database(basedir: Path, url: str) -> None:
    """:raises SettingsError: when the SQLite database is not whole. Another server's database is its own concern."""
    path = sqlite_file(basedir, url)
    if path is None:
        return
    if not path.exists():
        raise SettingsError(f"{path}: expected the master's database, got no file; restore the last backup")
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA quick_check(3)")]
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        said, tables = [str(error)], set()
    if said != ["ok"] or "buildrequests" not in tables:
        got = "; ".join(said) if said != ["ok"] else "one without Buildbot's tables"
        raise SettingsError(f"{path}: expected a whole database, got: {got}; restore the last backup")
