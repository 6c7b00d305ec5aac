"""Taking one ISO from one worker: a small process of its own, outside Buildbot's protocol and the master's memory.

Rules:

- What it may take comes on standard input as one line: address, one-time token, target, exact size. When standard input
  ends (the master is done or dead) the process ends.
- Streamed to disk in blocks; a lost connection is resumed where the file ends. More than the size is refused.
- The bytes are believed by nobody here: whoever asked hashes them.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK_BYTES = 1024 * 1024
SILENCE_SECONDS = 120
PATH = "/iso"
_RANGE = re.compile(r"\Abytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})\Z")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_SECONDS
    token = ""
    target = Path()
    size = 0
    one_at_a_time = threading.Lock()

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


def main() -> None:
    """Serve until standard input ends."""
    order = json.loads(sys.stdin.readline())
    host, _, port = order["bind"].rpartition(":")
    handler = type(
        "Handler",
        (_Handler,),
        {"token": order["token"], "target": Path(order["target"]), "size": int(order["size"])},
    )
    server = ThreadingHTTPServer((host.strip("[]"), int(port)), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
