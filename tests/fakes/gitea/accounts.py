"""Accounts of the stand-in for Gitea: its OAuth2 provider, as https://docs.gitea.com/development/oauth2-provider has it.

Rules:

- As strict as RFC 6749 and RFC 7636 allow: a code counts once, for its client, its redirect URI and its PKCE verifier.
- ``logged_in`` is whose browser comes next; nobody is asked for consent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

Answer = tuple[int, bytes, dict[str, str]]


@dataclass
class Accounts:
    """One registered application, and who is logged in."""

    client_id: str = "the-client"
    client_secret: str = field(default_factory=lambda: f"client-secret-{secrets.token_hex(16)}")
    redirect_uri: str = ""
    logged_in: str = "olga"
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Code to account and PKCE challenge."""
    tokens: dict[str, str] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)
    """Every code and token there ever was."""

    def answer(
        self, method: str, path: str, query: dict[str, str], raw: bytes, headers: Mapping[str, str]
    ) -> Answer | None:
        """The answer to a call of the provider; None for other calls."""
        if not path.startswith("/login/oauth/"):
            return None
        if (method, path) == ("GET", "/login/oauth/authorize"):
            return self._authorize(query)
        if (method, path) == ("POST", "/login/oauth/access_token"):
            return self._token(json.loads(raw))
        if (method, path) == ("GET", "/login/oauth/userinfo"):
            name = self.tokens.get((headers.get("Authorization") or "").removeprefix("Bearer "))
            if name is None:
                return 401, b"{}", {}
            user = {"sub": "7", "preferred_username": name, "name": name.title(), "email": f"{name}@example.org"}
            return 200, json.dumps(user).encode(), {}
        return 404, b"{}", {}

    def _authorize(self, query: dict[str, str]) -> Answer:
        good = {"client_id": self.client_id, "redirect_uri": self.redirect_uri, "response_type": "code"}
        if any(query.get(k) != v for k, v in good.items()) or query.get("code_challenge_method") != "S256":
            return 400, b"unregistered", {}
        code = secrets.token_hex(16)
        self.codes[code] = (self.logged_in, query["code_challenge"])
        self.issued.append(code)
        back = urlencode({"code": code, "state": query["state"]})
        return 303, b"", {"Location": f"{self.redirect_uri}?{back}"}

    def _token(self, body: dict[str, Any]) -> Answer:
        name, challenge = self.codes.pop(body.get("code", ""), ("", ""))
        shown = base64.urlsafe_b64encode(hashlib.sha256(body.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        right = (body.get("client_id"), body.get("client_secret"), body.get("redirect_uri"))
        if right != (self.client_id, self.client_secret, self.redirect_uri) or shown.decode() != challenge or not name:
            return 400, json.dumps({"error": "unauthorized_client"}).encode(), {}
        token = secrets.token_hex(24)
        self.tokens[token] = name
        self.issued.append(token)
        return 200, json.dumps({"access_token": token, "token_type": "bearer", "expires_in": 3600}).encode(), {}
