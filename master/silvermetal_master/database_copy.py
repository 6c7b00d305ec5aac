"""A copy of Buildbot's database that is whole while the master writes, and back.

Rules:

- SQLite by its own online backup; PostgreSQL by pg_dump and pg_restore, whose password travels in a file of mode 0600
  that is gone afterwards, never in an argument or an environment.
- Nothing is restored over tables that are there.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from silvermetal_master.database import BUSY_SECONDS, sqlite_file
from silvermetal_master.errors import SettingsError
from silvermetal_master.history import open_engine

SQLITE, POSTGRESQL = "database.sqlite", "database.pgdump"
TIMEOUT_SECONDS = 3600


def copy_database(basedir: Path, url: str, target: Path) -> str:
    """Copy the database into the folder ``target``; return the copy's name. :raises SettingsError: when it fails."""
    file = sqlite_file(basedir, url)
    if file is None:
        _postgresql(["pg_dump", "--format=custom", "--no-owner", f"--file={target / POSTGRESQL}"], url)
        return POSTGRESQL
    if not file.exists():
        raise SettingsError(f"{file}: expected the master's database, got no file")
    try:
        with (
            closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as source,
            closing(sqlite3.connect(target / SQLITE)) as copy,
        ):
            source.backup(copy)
            said = [row[0] for row in copy.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        raise SettingsError(f"{file}: expected a database that can be copied, got {error}") from None
    if said != ["ok"]:
        raise SettingsError(f"{file}: expected a whole database, got: {'; '.join(map(str, said))}")
    return SQLITE


def put_database(backup: Path, basedir: Path, url: str) -> None:
    """Put the copy in ``backup`` where ``url`` says. :raises SettingsError: when something is there."""
    file = sqlite_file(basedir, url)
    name = SQLITE if file is not None else POSTGRESQL
    if not (backup / name).exists():
        raise SettingsError(f"{backup}: expected {name} for master.database, got none; the URL is of another kind")
    if file is not None:
        with (backup / name).open("rb") as source, file.open("xb") as target:
            while block := source.read(2**20):
                target.write(block)
            os.fsync(target.fileno())
        return
    refuse_tables(basedir, url)
    command = ["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction"]
    _postgresql([*command, f"--dbname={sa.make_url(url).database}", str(backup / name)], url)


def refuse_tables(basedir: Path, url: str) -> None:
    """:raises SettingsError: when the database is not empty, or does not answer."""
    try:
        engine = open_engine(basedir, url)
        try:
            tables = sa.inspect(engine).get_table_names()
        finally:
            engine.dispose()
    except sa.exc.SQLAlchemyError as error:
        raise SettingsError(f"master.database: expected an answer, got {str(error).splitlines()[0]}") from None
    if tables:
        raise SettingsError(f"master.database: expected an empty one, got {len(tables)} tables; nothing is changed")


@contextmanager
def _environment(url: sa.URL) -> Iterator[dict[str, str]]:
    """What PostgreSQL's commands need to reach the database."""
    named = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGDATABASE": url.database}
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG") or k == "PGPASSFILE"}
    env |= {name: str(value) for name, value in named.items() if value}
    with tempfile.NamedTemporaryFile("w", prefix=".pgpass.") as file:
        if url.password:
            escaped = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:*:{escaped}\n")
            file.flush()
            env["PGPASSFILE"] = file.name
        yield env


def _postgresql(argv: list[str], url: str) -> None:
    with _environment(sa.make_url(url)) as env:
        try:
            done = subprocess.run(
                argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except FileNotFoundError:
            raise SettingsError(f"expected the command {argv[0]} (package postgresql-client), got none") from None
        except subprocess.TimeoutExpired:
            raise SettingsError(f"{argv[0]}: expected its end within {TIMEOUT_SECONDS} s, got none") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-1000:]
        raise SettingsError(f"{argv[0]}: expected exit code 0, got {done.returncode}: {said}")
