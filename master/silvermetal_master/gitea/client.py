"""A small client of Gitea's releases, over treq.

Rules:

- The token is in one header, never in a URL, an error or a log; it is sent to the configured server alone.
- Every call has a timeout and a bounded answer; files go both ways by a process of their own (:mod:`.porter`).
- What asks only (GET) is tried again after 5xx and lost connections, with backoff, a bounded number of times. What
  changes something is not: whoever called looks first what is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import treq
from twisted.internet import defer, error
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived

from silvermetal_master.gitea.porter import LostError, Porter

CALL_SECONDS = 60
TRANSFER_SECONDS = 6 * 3600
TRIES = 4
MAX_ANSWER_BYTES = 8 * 1024 * 1024
PAGE = 50
_LOST = (ResponseFailed, ResponseNeverReceived, error.ConnectError, error.ConnectionLost, error.ConnectionDone)


class GiteaError(Exception):
    """The server did not do what was asked; the text says expected and got."""


class GiteaClient:
    """One repository's releases. ``url`` is the server's, without ``/api/v1``; ``backoff`` is in seconds."""

    def __init__(
        self, reactor: Any, url: str, owner: str, repository: str, token: str, *, backoff: float = 2.0
    ) -> None:
        self._reactor = reactor
        self._server = url.rstrip("/")
        self._base = f"{self._server}/api/v1/repos/{quote(owner, safe='')}/{quote(repository, safe='')}"
        self._token = token
        self._backoff = backoff
        self._porter = Porter(reactor)
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False), connectTimeout=30)

    def close(self) -> None:
        """End what was started for this client."""
        self._porter.close()

    async def releases(self, tag: str) -> list[dict[str, Any]]:
        """Every release of a tag, drafts too."""
        found: list[dict[str, Any]] = []
        for page in range(1, 1000):
            part = await self._json("GET", "/releases?" + urlencode({"page": page, "limit": PAGE}), 200)
            found += [r for r in part if r.get("tag_name") == tag]
            if not part:
                return found
        raise GiteaError("releases: expected an end of the list, got a thousand pages")

    async def release(self, number: int) -> dict[str, Any]:
        """One release by its id."""
        return dict(await self._json("GET", f"/releases/{number}", 200))

    async def create_draft(self, tag: str, title: str, body: str, commit: str) -> dict[str, Any]:
        """Make a draft."""
        option = {"tag_name": tag, "target_commitish": commit, "name": title, "body": body, "draft": True}
        return dict(await self._json("POST", "/releases", 201, option))

    async def undraft(self, number: int, body: str) -> None:
        """Publish a draft, with its final text."""
        await self._json("PATCH", f"/releases/{number}", 200, {"draft": False, "body": body})

    async def delete_asset(self, release: int, asset: int) -> None:
        """Remove one asset."""
        await self._json("DELETE", f"/releases/{release}/assets/{asset}", 204)

    async def upload(self, release: int, name: str, path: Path) -> None:
        """Stream a file into a new asset."""
        where = f"{self._base}/releases/{release}/assets?" + urlencode({"name": name})
        answer = await self._carry("POST asset", {"do": "upload", "url": where, "path": str(path)})
        _expect(answer["status"], 201, f"POST asset {name}", answer["said"].encode())

    async def newest_status(self, commit: str, context: str) -> dict[str, Any] | None:
        """The newest status of ``context`` on a commit, if there is one."""
        for page in range(1, 1000):
            query = urlencode({"sort": "highestindex", "page": page, "limit": PAGE})
            part = await self._json("GET", f"/statuses/{quote(commit, safe='')}?{query}", 200)
            found = [s for s in part or [] if s.get("context") == context]
            if found:
                return max(found, key=lambda s: int(s.get("id", 0)))
            if not part:
                return None
        raise GiteaError("statuses: expected an end of the list, got a thousand pages")

    async def create_status(self, commit: str, option: dict[str, str]) -> None:
        """Add one status: ``state``, ``context``, ``description``, ``target_url``."""
        await self._json("POST", f"/statuses/{quote(commit, safe='')}", 201, option)

    async def digest(self, asset: dict[str, Any]) -> str:
        """The SHA-256 of an asset, downloaded and hashed as it arrives, as ``sha256:<64 hex>``."""
        url = str(asset.get("browser_download_url", ""))
        if not url.startswith(f"{self._server}/"):
            raise GiteaError(f"asset {asset.get('name')}: expected an address below {self._server}/, got {url[:200]}")

        async def once() -> str:
            answer = await self._carry("GET asset", {"do": "digest", "url": url})
            _expect(answer["status"], 200, f"GET asset {asset.get('name')}")
            return f"sha256:{answer['sha256']}"

        return str(await self._again(once))

    async def _carry(self, what: str, order: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._porter.ask({**order, "token": self._token}, seconds=TRANSFER_SECONDS)
        except LostError as lost:
            raise _LostError(f"{what}: expected a whole answer, got {lost}") from None

    async def _json(self, method: str, path: str, expected: int, body: Any = None) -> Any:
        async def once() -> Any:
            response = await self._send(method, f"{self._base}{path}", body)
            parts: list[bytes] = []

            def take(block: bytes) -> None:
                parts.append(block)
                if sum(map(len, parts)) > MAX_ANSWER_BYTES:
                    raise GiteaError(f"{method}: expected at most {MAX_ANSWER_BYTES} bytes, got more")

            await response.collect(take)
            data = b"".join(parts)
            _expect(response.code, expected, f"{method} {path.partition('?')[0]}", data)
            try:
                return json.loads(data) if data else None
            except ValueError:
                raise GiteaError(f"{method} {path.partition('?')[0]}: expected JSON, got something else") from None

        def bounded() -> Any:
            return self._bounded(once(), CALL_SECONDS, method)

        return await (self._again(bounded) if method == "GET" else bounded())

    async def _bounded(self, call: Any, seconds: float, what: str) -> Any:
        """A call with its whole answer, within its time."""
        try:
            return await defer.ensureDeferred(call).addTimeout(seconds, self._reactor)
        except defer.TimeoutError:
            raise _LostError(f"{what}: expected an end within {seconds:g} s, got none") from None
        except _LOST as lost:
            raise _LostError(f"{what}: expected a whole answer, got {type(lost).__name__}") from None

    async def _send(self, method: str, url: str, body: Any = None) -> Any:
        headers = {"Authorization": f"token {self._token}", "Accept": "*/*"}
        data: Any = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        try:
            # No redirect is followed: the token is for this server.
            return await treq.request(
                method,
                url,
                headers=headers,
                data=data,
                agent=self._agent,
                timeout=CALL_SECONDS,
                reactor=self._reactor,
                allow_redirects=False,
                unbuffered=True,
            )
        except (*_LOST, defer.CancelledError, error.TimeoutError) as lost:
            raise _LostError(f"{method}: expected an answer, got {type(lost).__name__}") from None

    async def _again(self, once: Any) -> Any:
        for number in range(1, TRIES + 1):
            try:
                return await once()
            except _LostError:
                if number == TRIES:
                    raise
            await deferLater(self._reactor, self._backoff * 2 ** (number - 1))
        raise AssertionError("not reached")


class _LostError(GiteaError):
    """No answer, or one that may be another next time."""


def _expect(code: int, expected: int, what: str, data: bytes = b"") -> None:
    if code != expected:
        kind = _LostError if code >= 500 or code == 429 else GiteaError
        said = data[:300].decode("utf-8", "replace").strip()
        raise kind(f"{what}: expected {expected}, got {code} {said}".strip())
