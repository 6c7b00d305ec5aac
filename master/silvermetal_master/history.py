"""What a master that does not run left in Buildbot's database: read, never written.

Rules:

- The same questions as to the running master, answered by three plain queries, for SQLite and PostgreSQL alike.
- No worker is connected to a master that does not run, whatever its tables still say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from silvermetal_master.database import engine_settings, sqlite_file
from silvermetal_master.errors import SettingsError

SECONDS = 10
_T = TypeVar("_T")


@dataclass(frozen=True)
class Asked:
    """Workers by name (is it connected); waiting requests (builder, since); running builds (builder, number, since)."""

    workers: dict[str, bool]
    waiting: list[tuple[str, int]]
    running: list[tuple[str, int, int]]


def open_engine(basedir: Path, url: str) -> sa.Engine:
    """A short-lived engine for the master's database. :raises SettingsError: when there is no such file."""
    file = sqlite_file(basedir, url)
    if file is None:
        engine_settings(url)
        timeout = {"timeout" if url.startswith("postgresql+pg8000:") else "connect_timeout": SECONDS}
        return sa.create_engine(url, poolclass=NullPool, connect_args=timeout)
    if not file.exists():
        raise SettingsError(f"{file}: expected the master's database, got no file; restore the last backup")
    return sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": SECONDS})


def revision(basedir: Path, url: str) -> str:
    """The database's schema, by alembic's name. :raises SettingsError: when it cannot be read."""
    return _look(basedir, url, lambda c: str(_rows(c, "SELECT version_num FROM alembic_version")[0][0]))


def of_database(basedir: Path, url: str) -> Asked:
    """What the tables say. :raises SettingsError: when they cannot be read."""
    return _look(basedir, url, _read)


def _look(basedir: Path, url: str, ask: Callable[[sa.Connection], _T]) -> _T:
    try:
        engine = open_engine(basedir, url)
        try:
            with engine.connect() as connection:
                return ask(connection)
        finally:
            engine.dispose()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise SettingsError(f"expected the master's database, got {str(error).splitlines()[0]}") from None


def _rows(connection: sa.Connection, query: str) -> list[Any]:
    return list(connection.execute(sa.text(query)))


def _read(connection: sa.Connection) -> Asked:
    names = _rows(connection, "SELECT name FROM workers")
    waiting = _rows(
        connection,
        "SELECT b.name, r.submitted_at FROM buildrequests r JOIN builders b ON b.id = r.builderid "
        "LEFT JOIN buildrequest_claims c ON c.brid = r.id WHERE r.complete = 0 AND c.brid IS NULL ORDER BY r.id",
    )
    running = _rows(
        connection,
        "SELECT b.name, x.number, x.started_at FROM builds x JOIN builders b ON b.id = x.builderid "
        "WHERE x.complete_at IS NULL ORDER BY x.id",
    )
    return Asked(
        workers={str(row[0]): False for row in names},
        waiting=[(str(row[0]), int(row[1])) for row in waiting],
        running=[(str(row[0]), int(row[1]), int(row[2])) for row in running],
    )
