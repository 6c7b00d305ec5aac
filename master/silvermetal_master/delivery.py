"""One delivery of one ISO: the receiver that is open for it, and what the host is told of it.

Rules:

- The receiver is a process of its own, open only while one host is asked; it ends with the master.
- Where workers connect by TLS, so does the delivery: the receiver shows the worker port's certificate, and takes bytes
  from a connection with a certificate that stands for the asked worker now.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes

from silvermetal_master.authority import SERVER_KEY, authority_file, certificates, server_file, worker_file
from silvermetal_master.connections import PREFIX
from silvermetal_master.receiver import PATH
from silvermetal_master.settings import Settings

END_SECONDS = 20


def address(settings: Settings) -> str:
    """Where the host sends the ISO."""
    scheme = "https" if settings.master.workers.startswith(PREFIX) else "http"
    return f"{scheme}://{settings.receive}{PATH}"


def _tls(settings: Settings, worker: str) -> dict[str, Any] | None:
    if not settings.master.workers.startswith(PREFIX):
        return None
    folder = settings.folder
    return {
        "certificate": str(server_file(folder)),
        "key": str(folder / "secrets" / SERVER_KEY),
        "authority": str(authority_file(folder)),
        "peers": [c.fingerprint(hashes.SHA256()).hex() for c in certificates(worker_file(folder, worker))],
    }


def open_receiver(settings: Settings, worker: str, *, token: str, target: Path, size: int) -> subprocess.Popen[bytes]:
    """Start a receiver and wait until it listens. ``size`` is in bytes. :raises RuntimeError: when it does not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "silvermetal_master.receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    order: dict[str, Any] = {"bind": settings.receive, "token": token, "target": str(target), "size": size}
    order["tls"] = _tls(settings, worker)
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    if process.stdout.readline() != b"ready\n":
        close_receiver(process)
        said = process.stderr.read(2000).decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(
            f"receiver on {settings.receive}: expected it to listen, got {' '.join(said) or 'an early end'}"
        )
    return process


def close_receiver(process: subprocess.Popen[bytes]) -> None:
    """End it."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_SECONDS)
