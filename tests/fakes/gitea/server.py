"""A stand-in for Gitea's releases and commit statuses: the endpoints that we use, on a port of its own.

Rules:

- Every request and every answer is checked against Gitea's published description; what it does not have is kept in
  ``wrong``, which a test looks at, and answered by 400.
- ``faults`` plays a server in trouble: ``error`` answers 502 and does nothing, ``lost`` does it and hangs up, ``half``
  keeps half of an upload and hangs up, ``silent`` does it and says nothing for ten seconds.
- What is published anybody may read, below ``/<owner>/<repository>/releases/`` (:mod:`.public`); all else needs the token.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakes.gitea.accounts import Accounts
from tests.fakes.gitea.description import Description, NotDescribedError
from tests.fakes.gitea.public import public

AT = "2026-01-01T00:00:00Z"
TOKEN = "token-of-the-test"


class Gitea:
    def __init__(self, *, token: str = TOKEN, port: int = 0) -> None:
        self.token = token
        self.releases: dict[int, dict[str, Any]] = {}
        self.files: dict[int, bytes] = {}
        self.statuses: list[tuple[str, dict[str, Any]]] = []
        """Commit and status, oldest first."""
        self.wrong: list[str] = []
        self.calls: list[str] = []
        self.faults: dict[int, str] = {}
        """Number of the call, from 0, to what goes wrong with it."""
        self.down = False
        """Answer 502 to everything."""
        self.refuse: tuple[int, str] | None = None
        """What uploads are answered with."""
        self.lock = threading.Lock()
        self.accounts = Accounts()
        self.over = threading.Event()
        self.description = Description()
        self._next = 1
        outer = self

        class Handler(_Handler):
            gitea = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Gitea:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def number(self) -> int:
        self._next += 1
        return self._next - 1

    def asset(self, name: str, data: bytes) -> dict[str, Any]:
        number = self.number()
        self.files[number] = data
        url = f"{self.url}/attachments/{number}"
        return {"id": number, "name": name, "size": len(data), "browser_download_url": url, "created_at": AT}

    def body(self, headers: Any, stream: Any) -> Any:
        """The bytes of a request; a bench has them elsewhere."""
        return stream.read(int(headers.get("Content-Length") or 0))

    def shown(self, number: int) -> tuple[bytes, dict[str, str]]:
        """A file's bytes, and headers beside them."""
        return self.files[number], {}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, raw: bytes) -> tuple[int, Any]:
        parts = [unquote(p) for p in path.split("/")[6:]]
        if parts[:1] == ["statuses"]:
            return self._statuses(method, parts[1], query, body)
        if parts[:1] != ["releases"]:
            return 404, {"message": "no such page"}
        if len(parts) == 1:
            return self._collection(method, "/".join(path.split("/")[4:6]), query, body)
        release = self.releases.get(int(parts[1]))
        if release is None:
            return 404, {"message": "no such release"}
        if len(parts) == 2:
            if method == "PATCH":
                release.update(body)
            return 200, release
        if method == "POST":
            made = self.asset(query["name"], raw)
            release["assets"].append(made)
            return 201, made
        if method == "DELETE":
            release["assets"] = [a for a in release["assets"] if a["id"] != int(parts[3])]
            return 204, None
        return 200, release["assets"]

    def _statuses(self, method: str, commit: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        of_commit = [s for c, s in self.statuses if c == commit]
        if method == "GET":
            page, limit = int(query.get("page", 1)), int(query.get("limit", 30))
            return 200, of_commit[::-1][(page - 1) * limit : page * limit]
        if body["state"] not in ("pending", "success", "error", "failure", "warning"):
            return 400, {"message": "no such state"}
        number = self.number()
        made = {
            "id": number,
            "status": body["state"],
            "created_at": AT,
            "updated_at": AT,
            "url": f"{self.url}/s/{number}",
        }
        made |= {name: body.get(name, "") for name in ("context", "description", "target_url")}
        self.statuses.append((commit, made))
        return 201, made

    def _collection(self, method: str, repository: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "GET":
            page, limit = int(query.get("page", 1)), int(query.get("limit", 30))
            return 200, list(self.releases.values())[(page - 1) * limit : page * limit]
        if any(r["tag_name"] == body["tag_name"] for r in self.releases.values()):
            return 409, {"message": "Release is has no Tag"}
        number = self.number()
        url = f"{self.url}/{repository}/releases/tag/{body['tag_name']}"
        self.releases[number] = {"id": number, "assets": [], "html_url": url, "created_at": AT, **body}
        return 201, self.releases[number]


class _Handler(BaseHTTPRequestHandler):
    gitea: Gitea
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _serve(self) -> None:
        gitea = self.gitea
        raw = gitea.body(self.headers, self.rfile)
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        kind = self.headers.get("Content-Type") or ""
        fault = self._answer(gitea, address, query, kind, raw)
        if fault == "silent":
            gitea.over.wait(10)

    def _answer(self, gitea: Gitea, address: Any, query: dict[str, str], kind: str, raw: Any) -> str:
        """Do what is asked and answer it; returns what went wrong on the way."""
        with gitea.lock:
            if (said := gitea.accounts.answer(self.command, address.path, query, raw, self.headers)) is not None:
                self._send(*said)
                return ""
            fault = gitea.faults.pop(len(gitea.calls), "")
            gitea.calls.append(f"{self.command} {address.path}")
            if self.headers.get("Authorization") != f"token {gitea.token}":
                self._send(*public(gitea.releases, gitea.files, self.command, address.path, self.headers))
                return fault
            if gitea.refuse is not None and self.command == "POST" and address.path.endswith("/assets"):
                status, message = gitea.refuse
                self._send(status, json.dumps({"message": message}).encode())
                return fault
            if fault == "error" or gitea.down:
                self._send(502, b"{}")
                return fault
            if address.path.startswith("/attachments/"):
                number = int(address.path.rpartition("/")[2])
                self._hang_up() if fault else self._send(200, *gitea.shown(number))
                return fault
            body = json.loads(raw) if kind == "application/json" else None
            try:
                gitea.description.check_request(self.command, address.path, query, kind, body)
                if fault == "half":
                    raw = raw[: len(raw) // 2]
                status, answer = gitea.answer(self.command, address.path, query, body, raw)
                gitea.description.check_answer(self.command, address.path, status, answer)
            except NotDescribedError as error:
                gitea.wrong.append(str(error))
                self._send(400, json.dumps({"message": str(error)}).encode())
                return fault
            if fault:
                self._hang_up()
            else:
                self._send(status, b"" if answer is None else json.dumps(answer).encode())
            return fault

    def _hang_up(self) -> None:
        self.close_connection = True

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve
