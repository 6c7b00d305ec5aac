"""Buildbot's database: one URL in, what Buildbot's engine needs out.

Rules:

- The driver is named: ``postgresql://`` means another driver with each major version of SQLAlchemy.
- SQLite keeps its connections open and syncs at checkpoints only (WAL). Power loss may take the last transactions,
  never integrity; verdicts and the ledger are files of their own, each synced.
- PostgreSQL may restart while the master runs: a query that lost its connection is asked again, a connection that
  cannot be made is tried for :data:`PATIENCE_SECONDS` on its thread. That is Buildbot's own way for MySQL; a commit
  whose answer was lost is asked again, too.
- A password is never part of the URL: it is the secret ``database-password``.
- A database that is not whole is not started with: a sentence says so, nothing is repaired, nothing is written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from silvermetal_master.errors import SettingsError

BUSY_SECONDS = 30
PATIENCE_SECONDS = 900
_RETRY_SECONDS = 1.0
_SQLITE = "sqlite:///"
DRIVERS = ("postgresql+pg8000", "postgresql+psycopg")
"""pg8000 comes with the extra ``master``; psycopg is the operator's to install (ADR 0020)."""
_SERVER_ENDED = (
    "57P01",
    "57P02",
    "57P03",
    "network error",
    "connection is closed",
    "closed the connection",
    "terminating connection",
)


class TunedConnection(sqlite3.Connection):
    """A connection to SQLite that syncs at checkpoints."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("pragma synchronous = normal")


class PatientPool(QueuePool):
    """Connections to a server that may be starting: the thread that asks waits for it."""

    def __init__(self, creator: Callable[..., Any], **kwargs: Any) -> None:
        def patient(connection_record: Any = None) -> Any:
            end = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    return creator(connection_record)
                except Exception as error:
                    # Wrong passwords and names do not mend themselves.
                    if time.monotonic() >= end or not _may_come_back(error):
                        raise
                    time.sleep(_RETRY_SECONDS)

        super().__init__(patient, **kwargs)


def _may_come_back(error: BaseException) -> bool:
    chain = f"{error!r} {error.__cause__!r} {error.__context__!r}".lower()
    return any(
        words.lower() in chain for words in (*_SERVER_ENDED, "refused", "can't create a connection", "starting up")
    )


def _lost_connection(context: Any) -> Exception | None:
    """Tell SQLAlchemy that the connection is gone, and Buildbot, in the words it looks for, that it may ask again."""
    if context.dialect.name != "postgresql" or context.original_exception is None:
        return None
    said = str(context.original_exception)
    if not context.is_disconnect and not any(words in said for words in _SERVER_ENDED):
        return None
    context.is_disconnect = True
    if context.is_pre_ping:
        return None
    return sa.exc.OperationalError(context.statement, None, Exception(f"Lost connection: {said[:300]}"))


def with_password(url: str, secret: Path) -> str:
    """``url`` with the password in the file ``secret``, if there is one. :raises SettingsError: for one in the URL."""
    if url.partition(":")[0] not in DRIVERS:
        return url
    parts = sa.make_url(url)
    if parts.password is not None:
        raise SettingsError(f"master.database: expected no password in the URL, got one; move it to {secret}")
    if not secret.exists():
        return url
    return parts.set(password=secret.read_text(encoding="utf-8").strip()).render_as_string(hide_password=False)


def engine_settings(url: str) -> dict[str, Any]:
    """Buildbot's ``c['db']`` for ``url``. :raises SettingsError: for another kind of database or driver."""
    kind = url.partition(":")[0]
    if kind == "sqlite":
        connect = {"factory": TunedConnection, "timeout": BUSY_SECONDS}
        return {"db_url": url, "engine_kwargs": {"poolclass": QueuePool, "connect_args": connect}}
    if kind in DRIVERS:
        try:
            parts = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise SettingsError(f"master.database: expected a URL, got {error}") from None
        if not parts.database:
            raise SettingsError("master.database: expected a URL that names a database at its end, got none")
        if not sa.event.contains(sa.Engine, "handle_error", _lost_connection):
            sa.event.listen(sa.Engine, "handle_error", _lost_connection)
        return {"db_url": url, "engine_kwargs": {"pool_pre_ping": True, "poolclass": PatientPool}}
    hint = " or ".join(f"{driver}://" for driver in DRIVERS)
    if not kind.startswith("postgres"):
        hint = f"sqlite:/// or {hint}"
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
