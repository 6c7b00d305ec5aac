"""Operators log in with their account at Gitea: OAuth 2.0, authorization code with PKCE (RFC 6749, RFC 7636).

Source: https://docs.gitea.com/development/oauth2-provider. Own code because Buildbot's needs requests, which is
Apache-2.0 (ADR 0001), and looks at no ``state``: anybody could log somebody in as somebody else.

Rules:

- A login that comes back must carry the state that this browser was given, once, within :data:`LOGIN_SECONDS`.
- The client's secret and the tokens are in request bodies and headers to Gitea alone: in no URL, cookie, session, log.
- The session holds name and e-mail address; who may control is said by the settings, not by Gitea.
- Afterwards the browser is sent to the master's own first page, wherever it said it came from.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import treq
from buildbot.www.auth import AuthBase, LoginResource
from buildbot.www.resource import Redirect
from twisted.internet import defer
from twisted.python import log
from twisted.web.error import Error

COOKIE = b"silvermetal_login"
LOGIN_SECONDS = 600
CALL_SECONDS = 20
MAX_PENDING = 1000
MAX_ANSWER_BYTES = 65536


@dataclass(frozen=True)
class _Pending:
    verifier: str
    until: float


def challenge_of(verifier: str) -> str:
    """PKCE's S256: what is shown before, of what is shown afterwards."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class _Login(LoginResource):
    """``auth/login``: to Gitea without a code, back from it with one."""

    def __init__(self, master: Any, login: GiteaLogin) -> None:
        super().__init__(master)
        self._login = login

    async def _answer(self, request: Any) -> None:
        if b"code" not in request.args and b"error" not in request.args:
            state, url = self._login.begin(self.master.reactor.seconds())
            secure = "; Secure" if self.base_url.startswith("https:") else ""
            value = (
                f"{COOKIE.decode()}={state}; Max-Age={LOGIN_SECONDS}; Path=/auth/login; HttpOnly; SameSite=Lax{secure}"
            )
            request.responseHeaders.addRawHeader(b"set-cookie", value.encode())
            raise Redirect(url)
        state = request.args.get(b"state", [b""])[0]
        verifier = self._login.take(state, request.getCookie(COOKIE) or b"", self.master.reactor.seconds())
        if verifier is None or b"code" not in request.args:
            raise Error(403, b"login: expected an answer to a login that this browser began, got another; begin again")
        user = await self._login.ask(request.args[b"code"][0].decode("ascii", "replace"), verifier)
        session = request.getSession()
        session.user_info = user
        session.updateSession(request)
        raise Redirect(self.base_url)

    def renderLogin(self, request: Any) -> Any:
        """Buildbot's hook."""
        return defer.ensureDeferred(self._answer(request))


class GiteaLogin(AuthBase):
    """Buildbot's ``auth``. ``secret`` is the file of the client's secret, read when it is needed."""

    def __init__(self, *, url: str, client_id: str, secret: Path) -> None:
        super().__init__()
        self._server = url.rstrip("/")
        self._client, self._secret = client_id, secret
        self._pending: dict[str, _Pending] = {}

    def reconfigAuth(self, master: Any, new_config: Any) -> None:
        """Take the master's own address."""
        super().reconfigAuth(master, new_config)
        self._back = f"{new_config.buildbotURL}auth/login"

    def getConfigDict(self) -> dict[str, Any]:
        """What the web pages know: how the button is called."""
        return {"name": "Gitea", "oauth2": True, "fa_icon": "fa-sign-in", "autologin": False}

    def getLoginResource(self) -> Any:
        """The page."""
        return _Login(self.master, self)

    def begin(self, now: float) -> tuple[str, str]:
        """A new login: its state, and where to send the browser."""
        self._pending = {s: p for s, p in self._pending.items() if p.until > now}
        while len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        self._pending[state] = _Pending(verifier, now + LOGIN_SECONDS)
        asked = {
            "client_id": self._client,
            "redirect_uri": self._back,
            "response_type": "code",
            "scope": "openid profile email",
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return state, f"{self._server}/login/oauth/authorize?{urlencode(asked)}"

    def take(self, state: bytes, cookie: bytes, now: float) -> str | None:
        """The verifier of a login that this browser began and that was not answered yet; else None."""
        if not state or not hmac.compare_digest(state, cookie):
            return None
        pending = self._pending.pop(state.decode("ascii", "replace"), None)
        return pending.verifier if pending is not None and pending.until > now else None

    async def ask(self, code: str, verifier: str) -> dict[str, str]:
        """Who logged in. :raises Error: 403 where Gitea does not say."""
        try:
            body = {
                "client_id": self._client,
                "client_secret": self._secret.read_text(encoding="utf-8").strip(),
                "code": code,
                "code_verifier": verifier,
                "grant_type": "authorization_code",
                "redirect_uri": self._back,
            }
            token = (await self._call("POST", "/login/oauth/access_token", json=body))["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            user = await self._call("GET", "/login/oauth/userinfo", headers=headers)
            name = str(user["preferred_username"]).lower()
        except Exception as error:
            # Gitea's own words may hold what was sent: the kind is enough.
            log.msg(f"login by Gitea: expected an account, got {type(error).__name__}")
            raise Error(403, b"login: expected Gitea to name the account, got something else") from None
        found = {"username": name, "full_name": str(user.get("name") or name)[:200]}
        return {**found, "email": str(user.get("email") or "")[:200]}

    async def _call(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        response = await treq.request(
            method, f"{self._server}{path}", timeout=CALL_SECONDS, allow_redirects=False, persistent=False, **how
        )
        parts: list[bytes] = []

        def take(block: bytes) -> None:
            parts.append(block)
            if sum(map(len, parts)) > MAX_ANSWER_BYTES:
                raise ValueError("too large")

        await treq.collect(response, take)
        value = json.loads(b"".join(parts))
        if response.code != 200 or not isinstance(value, dict):
            raise ValueError(f"status {response.code}")
        return value
