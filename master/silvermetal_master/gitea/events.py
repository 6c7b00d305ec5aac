"""Gitea's push events, as a change-hook dialect of our own.

Sources: Gitea's webhook documentation; RFC 2104 (HMAC). Hazard H9: the stock dialect takes a branch named like a tag
for the tag, accepts unsigned events where no secret is set, and fails on deletions.

Rules:

- The raw body is read once, bounded, and its HMAC-SHA-256 compared in constant time before anything is parsed; a secret
  is mandatory, GET is refused.
- Only a push of ``refs/tags/<name>`` that exists afterwards becomes a change; a branch of the same name is none.
- The payload is a hint: the pin step resolves, peels and checks the tag itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

from buildbot.www.hooks.base import BaseHookHandler
from silvermetal_proof import ProofError, canonical
from silvermetal_proof.errors import printable
from twisted.internet import defer

MAX_BODY_BYTES = 4 * 1024 * 1024
TAG_CATEGORY = "tag"
_TAG = re.compile(r"\Arefs/tags/(?P<name>[A-Za-z0-9][A-Za-z0-9._/+-]{0,200})\Z")
_OBJECT = re.compile(r"\A[0-9a-f]{40}\Z")
_NOTHING = "0" * 40


def signature(secret: bytes, body: bytes) -> str:
    """The value of ``X-Gitea-Signature``: hexadecimal HMAC-SHA-256 of the raw body."""
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def changes_of(event: str, payload: Any, *, repository: str, tags: str) -> list[dict[str, Any]]:
    """The changes that one event means: one for a tag that now exists, none for anything else.

    :raises ValueError: when a push does not have the fields that it must have.
    """
    if event != "push":
        return []
    if not isinstance(payload, dict):
        # ValueError is what the hook answers with 400.
        raise ValueError("push event: expected a JSON object")  # noqa: TRY004
    ref, after = payload.get("ref"), payload.get("after")
    if not isinstance(ref, str) or not isinstance(after, str) or not _OBJECT.match(after):
        raise ValueError("push event: expected `ref` and a 40-hex `after`")
    match = _TAG.match(ref)
    if match is None or after == _NOTHING or not re.fullmatch(tags, match["name"]):
        return []
    pusher = payload.get("pusher")
    login = pusher.get("login") if isinstance(pusher, dict) else None
    return [
        {
            "author": printable(login if isinstance(login, str) and login else "unknown", 100),
            "files": [],
            "comments": f"tag {match['name']} was pushed",
            "revision": after,
            "branch": ref,
            "category": TAG_CATEGORY,
            "repository": repository,
            "codebase": "",
            "project": "",
        }
    ]


class GiteaEvents(BaseHookHandler):
    """The dialect. Options: ``secret`` (renderable), ``repository`` (ours), ``tags`` (regular expression)."""

    @defer.inlineCallbacks
    def getChanges(self, request: Any) -> Any:
        """Check the signature, then read the event. :raises ValueError: (answered 400) for whatever is refused."""
        if request.method != b"POST":
            raise ValueError("expected POST")
        body = request.content.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"expected at most {MAX_BODY_BYTES} bytes")
        options = self.options or {}
        secret = yield self._secret(options["secret"])
        given = (request.getHeader("X-Gitea-Signature") or "").strip().lower()
        if not hmac.compare_digest(signature(secret, body).encode(), given.encode("utf-8", "replace")):
            raise ValueError("signature does not hold: expected HMAC-SHA-256 of the body under the hook's secret")
        try:
            payload = canonical.decode(body, limit=MAX_BODY_BYTES, what="event")
        except ProofError as error:
            raise ValueError(str(error)) from None
        event = request.getHeader("X-Gitea-Event") or ""
        found = changes_of(event, payload, repository=options["repository"], tags=options["tags"])
        return found, "git"

    @defer.inlineCallbacks
    def _secret(self, value: Any) -> Any:
        """Render the secret from its provider; never empty."""
        from buildbot.process.properties import Properties

        properties = Properties()
        properties.master = self.master
        rendered = yield properties.render(value)
        secret = rendered.strip().encode()
        if not secret:
            raise ValueError("the hook has no secret: expected one, refusing every event")
        return secret
