"""Delivering a kept ISO to the master, once, outside Buildbot's protocol.

Rules:

- The build is named by its id; where to and with which one-time token is in a file that the master handed over.
- By TLS with the worker's own certificate, to the master whose authority it pinned; the token goes over plain HTTP to
  this machine's own loopback at most.
- Streamed, and resumed where the receiver's file ends; a bounded number of tries.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import ssl
import time
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from silvermetal_worker.certificate import AUTHORITY, CERTIFICATE, KEY
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, WorkerError
from silvermetal_worker.manifest import kept_iso

TRIES = 5
SILENCE_SECONDS = 120
BLOCK_BYTES = 1024 * 1024
MAX_ORDER_BYTES = 4096
SERVER_NAME = "master.silvermetal.internal"
"""What the master's certificate says, whatever its address."""


class _Pinned(http.client.HTTPConnection):
    """HTTP over TLS to :data:`SERVER_NAME` at another address."""

    def __init__(self, netloc: str, context: ssl.SSLContext) -> None:
        super().__init__(netloc, timeout=SILENCE_SECONDS, blocksize=BLOCK_BYTES)
        self._tls = context

    def connect(self) -> None:
        """Connect and shake hands."""
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=SERVER_NAME)


def deliver(artefacts: Path, order_file: Path, keys: Path) -> int:
    """Send the ISO; return its size in bytes. ``keys`` is the worker's folder of keys.

    :raises WorkerError: when it did not arrive.
    """
    with order_file.open("rb") as stream:
        order = json.loads(stream.read(MAX_ORDER_BYTES))
    iso = kept_iso(artefacts, str(order["build"]))
    address = urlsplit(str(order["url"]))
    context = _context(address, keys)
    why = "nothing was tried"
    for number in range(TRIES):
        if number:
            time.sleep(2 ** (number - 1))
        try:
            status = _once(iso, address, context, str(order["token"]))
        except ssl.SSLCertVerificationError as error:
            raise WorkerError(
                f"the ISO was not delivered: expected the master's own certificate at {address.netloc}, got {error}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = f"{type(error).__name__}: {error}"
        else:
            if status in (200, 201):
                return iso.stat().st_size
            why = f"status {status}"
            if status == http.client.FORBIDDEN:
                break
    raise WorkerError(f"the ISO was not delivered: expected the master to take it, got {why}")


def _context(address: SplitResult, keys: Path) -> ssl.SSLContext | None:
    """TLS for this address; None for plain HTTP on the loopback. :raises WorkerError: for anything else."""
    if address.scheme == "http" and _is_loopback(address.hostname or ""):
        return None
    if address.scheme != "https":
        raise WorkerError(
            f"expected to deliver by https, got {address.scheme}://{address.netloc}; the token stays here"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(keys / AUTHORITY)
        context.load_cert_chain(keys / CERTIFICATE, keys / KEY)
    except OSError as error:
        raise WorkerError(
            f"{keys}: expected the worker's certificate and the master's authority, got {error}; "
            "`silvermetal-worker admit` takes them",
            EXIT_HOST_NOT_READY,
        ) from None
    return context


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _once(iso: Path, address: SplitResult, context: ssl.SSLContext | None, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    size = iso.stat().st_size
    status, offset = _call(address, context, "HEAD", headers, None)
    if status != http.client.OK or offset >= size:
        return status
    with iso.open("rb") as stream:
        stream.seek(offset)
        headers |= {"Content-Range": f"bytes {offset}-{size - 1}/{size}", "Content-Length": str(size - offset)}
        return _call(address, context, "PUT", headers, stream)[0]


def _call(
    address: SplitResult, context: ssl.SSLContext | None, method: str, headers: dict[str, str], body: object
) -> tuple[int, int]:
    connection = (
        http.client.HTTPConnection(address.netloc, timeout=SILENCE_SECONDS, blocksize=BLOCK_BYTES)
        if context is None
        else _Pinned(address.netloc, context)
    )
    try:
        connection.request(method, address.path, body=body, headers=headers)  # type: ignore[arg-type]
        answer = connection.getresponse()
        answer.read()
        return answer.status, int(answer.headers.get("X-Offset") or 0)
    finally:
        connection.close()
