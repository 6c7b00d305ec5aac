"""Somebody's webhook receiver: keeps what it was posted, and checks the signature as a receiver of its own would."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.posts: list[dict[str, Any]] = []
        """Bodies whose signature held."""
        self.forged: list[bytes] = []
        self.answers: list[int] = []
        """Statuses of the next answers; 200 when there is none."""
        outer = self

        class Handler(_Handler):
            receiver = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.receiver.answers.pop(0) if self.receiver.answers else 200
        expected = "sha256=" + hmac.new(self.receiver.secret, raw, hashlib.sha256).hexdigest()
        body = json.loads(raw)
        same = (self.headers["X-SilverMetal-Delivery"], self.headers["X-SilverMetal-Timestamp"])
        if self.headers["X-SilverMetal-Signature"] != expected or same != (body["delivery"], body["at"]):
            self.receiver.forged.append(raw)
        elif answer == 200:
            self.receiver.posts.append(body)
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()
