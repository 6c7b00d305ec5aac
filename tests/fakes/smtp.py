"""A mail relay that takes what it is sent, on a port of its own; ``refuse`` makes it answer 451 to every recipient."""

from __future__ import annotations

import email
import socketserver
import threading
from email.message import Message


class Relay:
    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], Message]] = []
        """Sender, recipients, message."""
        self.refuse = False
        self.refused = 0
        outer = self

        class Handler(_Handler):
            relay = outer

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(socketserver.StreamRequestHandler):
    relay: Relay
    timeout = 30

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        sender, recipients = "", []
        self._say("220 relay of the test")
        while line := self.rfile.readline(65536).decode().strip():
            verb = line.upper()
            if verb.startswith(("EHLO", "HELO")):
                self._say("250 relay")
            elif verb.startswith("MAIL FROM:"):
                sender, recipients = line[10:].strip("<> "), []
                self._say("250 ok")
            elif verb.startswith("RCPT TO:") and self.relay.refuse:
                self.relay.refused += 1
                self._say("451 try again later")
            elif verb.startswith("RCPT TO:"):
                recipients.append(line[8:].strip("<> "))
                self._say("250 ok")
            elif verb == "DATA":
                self._say("354 go on")
                data = b""
                while (part := self.rfile.readline(65536)) != b".\r\n":
                    data += part[1:] if part.startswith(b"..") else part
                self.relay.mails.append((sender, recipients, email.message_from_bytes(data)))
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")
