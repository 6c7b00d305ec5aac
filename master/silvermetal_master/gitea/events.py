"""Gitea's push events, as a change-hook dialect of our own.

Sources: Gitea's webhook documentation; RFC 2104 (HMAC). Hazard H9: the stock dialect takes a branch named like a tag
for the tag, accepts unsigned events where no secret is set, and fails on deletions.

Rules:

- The raw body is read once, bounded, and its HMAC-SHA-256 compared in constant time before anything is parsed; a secret
  is mandatory, GET is refused.
- Only a push of ``refs/tags/<name>`` that exists afterwards starts something; a branch of the same name is nothing.
  Beside it a branch ``bump/…``, which `scripts/bump-pin` makes: it is verified, and never released.
- A tag that was moved or deleted is a change of a category of its own, which people see and no scheduler takes; what a
  moved tag may become is the pin step's to say.
- A delivery that came before (``X-Gitea-Delivery``) starts nothing again. That is kept in memory alone: a delivery that
  a crash swallowed may be sent again.
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
MAX_DELIVERIES = 10_000
TAG_CATEGORY = "tag"
MOVED_CATEGORY = "tag-moved"
DELETED_CATEGORY = "tag-deleted"
BUMP_CATEGORY = "pin-bump"
_BUMP = re.compile(r"\Arefs/heads/bump/[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}\Z")
TAG_REF = re.compile(r"\Arefs/tags/(?P<name>[A-Za-z0-9][A-Za-z0-9._/+-]{0,200})\Z")
_OBJECT = re.compile(r"\A[0-9a-f]{40}\Z")
_NOTHING = "0" * 40


def signature(secret: bytes, body: bytes) -> str:
    """The value of ``X-Gitea-Signature``: hexadecimal HMAC-SHA-256 of the raw body."""
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def changes_of(event: str, payload: Any, *, repository: str, tags: str) -> list[dict[str, Any]]:
    """The changes that one event means: of a tag that is there, was moved or is gone; none for anything else.

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
    match = TAG_REF.match(ref)
    before = payload.get("before")
    if not isinstance(before, str) or not _OBJECT.match(before):
        before = _NOTHING
    bump = _BUMP.match(ref) is not None and after != _NOTHING
    if not bump and (match is None or not re.fullmatch(tags, match["name"])):
        return []
    pusher = payload.get("pusher")
    login = pusher.get("login") or pusher.get("name") if isinstance(pusher, dict) else payload.get("user_username")
    common = {
        "author": printable(login if isinstance(login, str) and login else "unknown", 100),
        "files": [],
        "branch": ref,
        "repository": repository,
        "codebase": "",
        "project": "",
    }
    if match is None:
        said = f"{ref.removeprefix('refs/heads/')} was pushed: a change of a pin"
        return [{**common, "comments": said, "revision": after, "category": BUMP_CATEGORY}]
    name = match["name"]
    if after == _NOTHING:
        said = f"tag {name} was deleted; it named {before}. Its verdict, where it has one, stays in the ledger"
        return [{**common, "comments": said, "revision": before, "category": DELETED_CATEGORY}]
    found = [{**common, "comments": f"tag {name} was pushed", "revision": after, "category": TAG_CATEGORY}]
    if before not in (_NOTHING, after):
        said = f"tag {name} was moved from {before} to {after}"
        found.insert(0, {**common, "comments": said, "revision": after, "category": MOVED_CATEGORY})
    return found


class GiteaEvents(BaseHookHandler):
    """The dialect. Options: ``secret`` (renderable), ``repository`` (ours), ``tags`` (regular expression)."""

    def __init__(self, master: Any, options: Any) -> None:
        super().__init__(master, options)
        self._deliveries: dict[str, None] = {}

    def _came_before(self, delivery: str) -> bool:
        """Whether this delivery was accepted before; it is from now on. Without an id nothing is known."""
        if not delivery:
            return False
        before = delivery in self._deliveries
        self._deliveries[delivery] = None
        if len(self._deliveries) > MAX_DELIVERIES:
            del self._deliveries[next(iter(self._deliveries))]
        return before

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
        if self._came_before((request.getHeader("X-Gitea-Delivery") or "")[:100]):
            return [], "git"
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
