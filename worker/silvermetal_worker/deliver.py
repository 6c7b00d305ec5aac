"""Delivering a kept ISO to the master, once, outside Buildbot's protocol.

Rules:

- The build is named by its id; where to and with which one-time token is in a file that the master handed over.
- Streamed, and resumed where the receiver's file ends; a bounded number of tries.
"""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from silvermetal_worker.errors import WorkerError
from silvermetal_worker.manifest import kept_iso

TRIES = 5
SILENCE_SECONDS = 120
BLOCK_BYTES = 1024 * 1024
MAX_ORDER_BYTES = 4096


def deliver(artefacts: Path, order_file: Path) -> int:
    """Send the ISO; return its size in bytes. :raises WorkerError: when it did not arrive."""
    with order_file.open("rb") as stream:
        order = json.loads(stream.read(MAX_ORDER_BYTES))
    iso = kept_iso(artefacts, str(order["build"]))
    why = "nothing was tried"
    for number in range(TRIES):
        try:
            status = _once(iso, str(order["url"]), str(order["token"]))
        except (OSError, http.client.HTTPException) as error:
            why = f"{type(error).__name__}: {error}"
        else:
            if status in (200, 201):
                return iso.stat().st_size
            why = f"status {status}"
            if status == http.client.FORBIDDEN:
                break
        time.sleep(2**number)
    raise WorkerError(f"the ISO was not delivered: expected the master to take it, got {why}")


def _once(iso: Path, url: str, token: str) -> int:
    address = urlsplit(url)
    headers = {"Authorization": f"Bearer {token}"}
    size = iso.stat().st_size
    status, offset = _call(address.netloc, "HEAD", address.path, headers, None)
    if status != http.client.OK or offset >= size:
        return status
    with iso.open("rb") as stream:
        stream.seek(offset)
        headers |= {"Content-Range": f"bytes {offset}-{size - 1}/{size}", "Content-Length": str(size - offset)}
        return _call(address.netloc, "PUT", address.path, headers, stream)[0]


def _call(netloc: str, method: str, path: str, headers: dict[str, str], body: object) -> tuple[int, int]:
    connection = http.client.HTTPConnection(netloc, timeout=SILENCE_SECONDS, blocksize=BLOCK_BYTES)
    try:
        connection.request(method, path, body=body, headers=headers)  # type: ignore[arg-type]
        answer = connection.getresponse()
        answer.read()
        return answer.status, int(answer.headers.get("X-Offset") or 0)
    finally:
        connection.close()
