"""Taking one ISO from one worker: a small process of its own, outside Buildbot's protocol and the master's memory.

Rules:

- What it may take comes on standard input as one line: address, one-time token, target, exact size, TLS. When standard
  input ends (the master is done or dead) the process ends.
- With TLS nobody gets past the handshake without a certificate of the master's authority, and nobody delivers with
  another one than the asked worker's own; without TLS it listens on the loopback alone.
- Streamed to disk in blocks; a lost connection is resumed where the file ends. More than the size is refused.
- The bytes are believed by nobody here: whoever asked hashes them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from silvermetal_master.loopback import is_loopback

BLOCK_BYTES = 1024 * 1024
SILENCE_SECONDS = 120
NICER = 10
"""The master goes first where both want a processor."""
PATH = "/iso"
_RANGE = re.compile(r"\Abytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})\Z")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_SECONDS
    token = ""
    target = Path()
    size = 0
    peers: frozenset[str] | None = None
    """SHA-256 of the certificates that may deliver; None where there is no TLS."""
    one_at_a_time = threading.Lock()

    def setup(self) -> None:
        """Shake hands here, in the connection's own thread: a silent peer keeps nobody waiting."""
        self.request.settimeout(SILENCE_SECONDS)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def log_message(self, *_: object) -> None:
        """Nothing: the master says what came."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("X-Offset", str(self._have()))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _have(self) -> int:
        return self.target.stat().st_size if self.target.exists() else 0

    def _may(self) -> bool:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if self.peers is not None:
            shown = hashlib.sha256(self.connection.getpeercert(binary_form=True) or b"").hexdigest()
            if shown not in self.peers:
                return False
        return self.path == PATH and hmac.compare_digest(given, f"Bearer {self.token}".encode())

    def do_HEAD(self) -> None:
        """Where to go on."""
        self._answer(200 if self._may() else 403)

    def do_PUT(self) -> None:
        """The rest of the file, from where it ends now."""
        if not self._may():
            return self._answer(403)
        with self.one_at_a_time:
            given = _RANGE.match(self.headers.get("Content-Range", ""))
            length = self.headers.get("Content-Length", "")
            if given is None or not length.isdigit() or int(given[2]) != self.size:
                return self._answer(400)
            if int(given[1]) != self._have() or int(given[1]) + int(length) > self.size:
                return self._answer(409)
            self._take(int(length))
            return self._answer(201 if self._have() == self.size else 202)

    def _take(self, missing: int) -> None:
        with self.target.open("ab") as stream:
            while missing and (block := self.rfile.read1(min(missing, BLOCK_BYTES))):
                stream.write(block)
                missing -= len(block)
            stream.flush()
            os.fsync(stream.fileno())


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ended or a handshake that failed: the other side's affair, and it tries again."""


def serve(order: dict[str, Any]) -> _Server:
    """The listening server of an order. :raises OSError: when it cannot listen. :raises ValueError: not without TLS."""
    host, _, port = str(order["bind"]).rpartition(":")
    host = host.strip("[]")
    tls = order.get("tls")
    if tls is None and not is_loopback(host):
        raise ValueError(f"receiver: expected TLS or an address of the loopback, got {host} without TLS")
    handler = type(
        "Handler",
        (_Handler,),
        {
            "token": order["token"],
            "target": Path(order["target"]),
            "size": int(order["size"]),
            "peers": None if tls is None else frozenset(tls["peers"]),
        },
    )
    server = _Server((host, int(port)), handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(tls["certificate"], tls["key"])
        context.load_verify_locations(tls["authority"])
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main() -> None:
    """Serve until standard input ends."""
    server = serve(json.loads(sys.stdin.readline()))
    os.nice(NICER)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
