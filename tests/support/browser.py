"""A session with the master's web page, as an operator or as nobody."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from http.cookiejar import CookieJar

from tests.support.service import Service


class Browser:
    """``user`` logs in with ``password``; without one the session is anonymous."""

    def __init__(self, service: Service, user: str | None = None, password: str = "") -> None:
        self.base = f"http://127.0.0.1:{service.web}"
        self.open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open
        if user is not None:
            word = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.open(urllib.request.Request(f"{self.base}/auth/login", headers={"Authorization": f"Basic {word}"}))

    def control(self, path: str, method: str, **parameters: object) -> int:
        """One control call of the REST interface; return the HTTP status."""
        body = {"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters}
        return self.post(f"api/v2/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """POST ``body``; return the HTTP status."""
        request = urllib.request.Request(f"{self.base}/{path}", data=body, headers=headers)
        try:
            with self.open(request, timeout=15) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def force(self, **parameters: object) -> int:
        """Ask the force scheduler; return the HTTP status."""
        return self.control("forceschedulers/verify-a-commit", "force", **parameters)
