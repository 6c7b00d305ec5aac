"""Moving and hashing large files: a process of its own, so that the reactor has nothing to do with their bytes.

Rules:

- Orders are lines of JSON on standard input, one answer a line on standard output, in their order. When standard input
  ends (the master is done or dead) the process ends at once, in the middle of a transfer too.
- The token is in an order alone: not in an argument, the environment or an answer.
- One block in memory at a time. No redirect is followed; nothing is tried again here: the master decides that.
- The master goes first where both want a processor.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

BLOCK_BYTES = 128 * 1024
"""Small enough for a processor's cache: a block of a mebibyte, and sendfile too, were slower on loopback."""
SILENCE_SECONDS = 600
"""A server that has the last byte may still move the file before it answers."""
MAX_SAID_BYTES = 1024 * 1024
NICER = 10


def _connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(url)
    kind = http.client.HTTPConnection
    more: dict[str, Any] = {}
    if parts.scheme == "https":
        kind, more = http.client.HTTPSConnection, {"context": ssl.create_default_context()}
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return kind(parts.netloc, timeout=SILENCE_SECONDS, **more), target


def _let_the_kernel_wait(connection: http.client.HTTPConnection) -> None:
    """Waiting for room in the socket is the kernel's, with the same limit: Python's own asks it before every piece."""
    if type(connection.sock) is socket.socket:
        limit = struct.pack("ll", SILENCE_SECONDS, 0)
        connection.sock.setblocking(True)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            connection.sock.setsockopt(socket.SOL_SOCKET, option, limit)


def upload(order: dict[str, Any]) -> dict[str, Any]:
    """Stream the file ``path`` as the body of a POST. Returns the status and the beginning of what the server said."""
    connection, target = _connect(order["url"])
    with Path(order["path"]).open("rb", buffering=0) as stream:
        try:
            connection.putrequest("POST", target)
            connection.putheader("Authorization", f"token {order['token']}")
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(os.fstat(stream.fileno()).st_size))
            connection.endheaders()
            _let_the_kernel_wait(connection)
            try:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                while got := stream.readinto(buffer):
                    connection.send(buffer[:got])
            except (BrokenPipeError, ConnectionResetError) as broken:
                # A server that refuses answers before it has everything: its words say more than the broken pipe.
                return _answer(connection, broken)
            return _answer(connection, None)
        finally:
            connection.close()


def _answer(connection: http.client.HTTPConnection, broken: OSError | None) -> dict[str, Any]:
    try:
        response = connection.getresponse()
        said = response.read(MAX_SAID_BYTES)
    except (OSError, http.client.HTTPException):
        if broken is not None:
            raise broken from None
        raise
    return {"status": response.status, "said": said.decode("utf-8", "replace")}


def digest(order: dict[str, Any]) -> dict[str, Any]:
    """Download ``url`` and hash it as it arrives. Returns the status and the SHA-256."""
    connection, target = _connect(order["url"])
    try:
        connection.request("GET", target, headers={"Authorization": f"token {order['token']}", "Accept": "*/*"})
        response = connection.getresponse()
        whole = hashlib.sha256()
        buffer = memoryview(bytearray(BLOCK_BYTES))
        while got := response.readinto(buffer):
            whole.update(buffer[:got])
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return {"status": response.status, "sha256": whole.hexdigest()}
    finally:
        connection.close()


def check(order: dict[str, Any]) -> dict[str, Any]:
    """Hash the file ``path``: SHA-256, and one HMAC-SHA-256 for each of ``nonces`` (host to hex), in one pass."""
    whole = hashlib.sha256()
    keyed = {host: hmac.new(bytes.fromhex(nonce), digestmod="sha256") for host, nonce in order["nonces"].items()}
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with Path(order["path"]).open("rb", buffering=0) as stream:
        while got := stream.readinto(buffer):
            whole.update(buffer[:got])
            for mac in keyed.values():
                mac.update(buffer[:got])
    return {"sha256": whole.hexdigest(), "keyed": {host: mac.hexdigest() for host, mac in keyed.items()}}


def copy(order: dict[str, Any]) -> dict[str, Any]:
    """Copy the file ``path`` to ``to``, which must not be there, durably. Returns the SHA-256 of what was written."""
    whole = hashlib.sha256()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with Path(order["path"]).open("rb", buffering=0) as source, Path(order["to"]).open("xb", buffering=0) as target:
        while got := source.readinto(buffer):
            whole.update(buffer[:got])
            written = 0
            while written < got:
                written += target.write(buffer[written:got])
        os.fsync(target.fileno())
    return {"sha256": whole.hexdigest()}


DOES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "upload": upload,
    "digest": digest,
    "check": check,
    "copy": copy,
}


def _work(orders: SimpleQueue[str]) -> None:
    while True:
        order = json.loads(orders.get())
        try:
            answer = DOES[order["do"]](order)
        except (OSError, http.client.HTTPException) as error:
            answer = {"lost": f"{type(error).__name__}: {error}"[:300]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Do what is ordered until standard input ends."""
    os.nice(NICER)
    orders: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_work, args=(orders,), daemon=True).start()
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
