"""GitHub's and GitLab's tag hooks: Buildbot's own dialects check and parse, a tag becomes the same change as Gitea's.

Rules:

- A secret is mandatory (GitHub: HMAC of the body; GitLab: a token, compared in constant time); only POST; bounded.
- What the stock dialects make of commits is not used: they shorten a tag's ref to its name, skip commits that say
  ``[skip ci]``, and ask the forge about pull requests. Only a push of ``refs/tags/<name>`` means something here.
"""

from __future__ import annotations

import hmac
import io
from typing import Any

from buildbot.process.properties import Properties
from buildbot.www.hooks.github import GitHubEventHandler, GitHubHandler
from buildbot.www.hooks.gitlab import GitLabHandler
from twisted.internet import defer

from silvermetal_master.gitea.events import MAX_BODY_BYTES, changes_of

_Found = tuple[list[dict[str, Any]], str]


def _bounded_post(request: Any) -> None:
    """Refuse what is no POST or is too large; the body can be read again. :raises ValueError: answered 400."""
    if request.method != b"POST":
        raise ValueError("expected POST")
    body = request.content.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"expected at most {MAX_BODY_BYTES} bytes")
    request.content = io.BytesIO(body)


class _GitHubTags(GitHubEventHandler):
    """Tags of a push; every other event that GitHub may be set to send means nothing."""

    def __init__(self, *args: Any, repository: str, tags: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ours = {"repository": repository, "tags": tags}

    def handle_push(self, payload: Any, event: str) -> _Found:
        return changes_of("push", payload, **self._ours), "git"

    def _nothing(self, _payload: Any, _event: str) -> _Found:
        return [], "git"

    handle_pull_request = handle_create = handle_delete = handle_release = _nothing


class GitHubTags(GitHubHandler):
    """The dialect ``github``. Options: ``secret`` (renderable), ``repository`` (ours), ``tags``."""

    def __init__(self, master: Any, options: dict[str, Any]) -> None:
        def handler(*args: Any, **kwargs: Any) -> _GitHubTags:
            return _GitHubTags(*args, repository=options["repository"], tags=options["tags"], **kwargs)

        super().__init__(master, {"secret": options["secret"], "strict": True, "class": handler})

    def getChanges(self, request: Any) -> Any:
        """Check and read the event. :raises ValueError: (answered 400) for whatever is refused."""
        _bounded_post(request)
        return super().getChanges(request)


class GitLabTags(GitLabHandler):
    """The dialect ``gitlab``. Options as :class:`GitHubTags`."""

    @defer.inlineCallbacks
    def getChanges(self, request: Any) -> Any:
        """Check and read the event. :raises ValueError: (answered 400) for whatever is refused."""
        _bounded_post(request)
        properties = Properties()
        properties.master = self.master
        expected = yield properties.render(self.options["secret"])
        given = request.getHeader("X-Gitlab-Token") or ""
        if not expected.strip() or not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
            raise ValueError("token does not hold: expected the hook's secret in X-Gitlab-Token")
        found = yield super().getChanges(request)
        return found

    def _process_change(
        self, payload: Any, user: Any, repo: Any, repo_url: Any, event: str, codebase: Any = None
    ) -> list[dict[str, Any]]:
        # GitLab says which of the two it was by the event, too: one that does not fit its ref means nothing.
        branch = isinstance(payload, dict) and str(payload.get("ref")).startswith("refs/heads/")
        if event != ("push" if branch else "tag_push"):
            return []
        return changes_of("push", payload, repository=self.options["repository"], tags=self.options["tags"])

    def _process_merge_request_change(self, payload: Any, event: str, codebase: Any = None) -> list[dict[str, Any]]:
        return []

    def _process_note_addition_to_merge_request(
        self, payload: Any, event: str, codebase: Any = None
    ) -> list[dict[str, Any]]:
        return []
