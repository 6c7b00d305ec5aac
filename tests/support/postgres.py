"""A PostgreSQL server of a test's own: a cluster in a temporary folder, run by a user without rights.

Rules:

- Real server programs from the Debian package; the machine's own clusters are not touched.
- Stopped by the server's own fast shutdown, so that clients see what they see when an operator restarts it.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.processes import Program, free_port, run, wait_until

USER = "silvermetal"


def programs() -> Path:
    """The folder of the newest server's programs; a machine without one skips."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if not found:
        pytest.skip("this machine lacks the package postgresql")
    return found[-1].parent


class Postgres:
    """A running server with one empty database, ``first``."""

    def __init__(self) -> None:
        self.bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="silvermetal-postgres."))
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.as_user: list[str] = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self.as_user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        self.server: Program | None = None

    def url(self, database: str = "first") -> str:
        """Without the password, as ``master.toml`` has it."""
        return f"postgresql+pg8000://{USER}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Postgres:
        word = self.folder / "password"
        word.write_text(self.password)
        word.chmod(0o644)
        argv = [*self.as_user, str(self.bin / "initdb"), "--pgdata", str(self.folder / "data"), "--username", USER]
        run([*argv, "--auth=scram-sha-256", f"--pwfile={word}", "--no-sync", "--encoding=UTF8"], timeout=120)
        word.unlink()
        self.start()
        self.create("first")
        return self

    def start(self) -> None:
        argv = [*self.as_user, str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        argv += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off"]
        self.server = Program(argv, self.folder.with_suffix(".log"))
        ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(
            lambda: subprocess.run(ready, stdin=subprocess.DEVNULL, timeout=30).returncode == 0,
            "the server to be ready",
            timeout=60,
            programs=[self.server],
        )

    def stop(self) -> None:
        """A fast shutdown: connections are ended, transactions are rolled back."""
        assert self.server is not None
        self.server.process.send_signal(signal.SIGINT)
        self.server.process.wait(60)

    def create(self, database: str) -> None:
        """Make an empty database."""
        argv = [str(self.bin / "createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database]
        run(argv, env={**os.environ, "PGPASSWORD": self.password})

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        if self.server is not None and self.server.running:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_suffix(".log").unlink(missing_ok=True)
