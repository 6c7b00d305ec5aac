"""Making a worker's directory, and running the worker in it.

Rules:

- Keys are made on the host and stay there; only the public half is printed.
- An existing directory is never changed: an enrolment is made once.
"""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import NoReturn

from silvermetal_proof import ProofError
from silvermetal_proof.statement import PublicKey, SigningKey

from silvermetal_worker.certificate import KEY, REQUEST, make_request
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError
from silvermetal_worker.settings import DIRECTORY_VARIABLE, WorkerDirectory, WorkerSettings


def _toml(value: object) -> str:
    """A TOML basic string or integer (worker.toml holds nothing else)."""
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)


def init(path: Path, values: dict[str, object], password: str) -> PublicKey:
    """Make a worker's directory; return its public key. :raises WorkerError: when it exists or a value is wrong."""
    if (path / "worker.toml").exists():
        raise WorkerError(f"{path}: expected a new directory, got one with a worker.toml; remove it first", EXIT_USAGE)
    if not password:
        raise WorkerError("expected the worker's password on standard input, got nothing", EXIT_USAGE)
    try:
        settings = WorkerSettings.from_plain(values, what="worker settings")
    except ProofError as error:
        raise WorkerError(str(error), EXIT_USAGE) from None
    for folder in (path, path / "keys", path / "builds", path / "builds" / "info"):
        folder.mkdir(parents=True, exist_ok=True)
    (path / "keys").chmod(0o700)
    key = SigningKey.generate()
    _write(path / "keys" / "signing.pem", key.pem, 0o600)
    _write(path / "keys" / "signing.pub", f"{key.public.hex}\n".encode(), 0o644)
    tls_key, request = make_request(settings.name)
    _write(path / "keys" / KEY, tls_key, 0o600)
    _write(path / "keys" / REQUEST, request, 0o644)
    _write(path / "password", f"{password}\n".encode(), 0o600)
    tac = resources.files("silvermetal_worker").joinpath("templates/buildbot.tac").read_bytes()
    _write(path / "buildbot.tac", tac, 0o644)
    _write(path / "builds" / "info" / "host", f"build host {settings.host}\n".encode(), 0o644)
    _write(path / "builds" / "info" / "admin", b"see config/hosts on the master\n", 0o644)
    lines = [f"{name} = {_toml(value)}" for name, value in settings.plain().items()]
    _write(path / "worker.toml", ("\n".join(lines) + "\n").encode(), 0o644)
    return key.public


def _sweep(directory: WorkerDirectory) -> None:
    """Remove what killed builds left; said, and no reason not to start."""
    from silvermetal_worker.engine import ContainerEngine
    from silvermetal_worker.leftovers import sweep

    try:
        for line in sweep(directory, ContainerEngine(directory.settings.docker_host)):
            sys.stderr.write(f"silvermetal-worker: removed what a killed build left: {line}\n")
    except (WorkerError, OSError) as error:
        sys.stderr.write(f"silvermetal-worker: leftovers were not looked for: {error}\n")
    sys.stderr.flush()


def run(directory: WorkerDirectory) -> NoReturn:
    """Become the worker's process, in the foreground. SIGTERM stops it."""
    settings = directory.settings
    host, _, port = settings.master.rpartition(":")
    twistd = Path(sys.executable).with_name("twistd")
    if not twistd.exists():
        raise WorkerError(
            f"expected {twistd} (extra `worker` of the package), got none; install it", EXIT_HOST_NOT_READY
        )
    env = dict(os.environ)
    # A master's password or token in the environment of whoever starts us must not be sent to the master on connect.
    env = {k: v for k, v in env.items() if k in ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")}
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    env |= {
        DIRECTORY_VARIABLE: str(directory.path.resolve()),
        "SILVERMETAL_MASTER_HOST": host.strip("[]"),
        "SILVERMETAL_MASTER_PORT": port,
        "SILVERMETAL_WORKER_NAME": settings.name,
    }
    _sweep(directory)
    os.chdir(directory.path)
    argv = [
        str(twistd),
        "--nodaemon",
        "--pidfile=",
        "--no_save",
        f"--python={directory.path.resolve() / 'buildbot.tac'}",
    ]
    os.execve(twistd, argv, env)  # noqa: S606 - the worker's process replaces this one, so that signals reach it
