"""GitHub's and GitLab's tag hooks through Buildbot's own dialects: signed, bounded, and the same change as Gitea's."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.configure import configure
from silvermetal_master.errors import SettingsError
from silvermetal_master.gitea.events import DELETED_CATEGORY, MAX_BODY_BYTES, TAG_CATEGORY
from silvermetal_master.gitea.other_forges import GitHubTags, GitLabTags
from silvermetal_master.site import make_secrets
from twisted.internet import defer

from tests.unit.master.site import REPOSITORY, make_site

SECRET = "a secret of the hook"
TAG, NOTHING = "a" * 40, "0" * 40
COMMIT = {
    "id": "c" * 40, "message": "release [skip ci]", "timestamp": "2026-01-01T00:00:00Z", "url": "https://x.example/c",
    "author": {"name": "A", "email": "a@x.example"}, "committer": {"name": "A", "email": "a@x.example"},
}  # fmt: skip


def github(ref: str = "refs/tags/v1", after: str = TAG, before: str = NOTHING) -> dict[str, Any]:
    """As GitHub's documentation shows a push of a tag."""
    return {
        "ref": ref, "before": before, "after": after, "created": before == NOTHING, "deleted": after == NOTHING,
        "forced": False, "base_ref": None, "commits": [], "head_commit": None if after == NOTHING else COMMIT,
        "repository": {"name": "r", "full_name": "o/r", "html_url": "https://evil.example/o/r"},
        "pusher": {"name": "alice", "email": "a@x.example"}, "sender": {"login": "alice"},
    }  # fmt: skip


def gitlab(ref: str = "refs/tags/v1", after: str = TAG, before: str = NOTHING, kind: str = "tag_push") -> Any:
    """As GitLab's documentation shows a tag's push: without commits."""
    return {
        "object_kind": kind, "event_name": kind, "before": before, "after": after, "ref": ref,
        "checkout_sha": "c" * 40, "user_id": 1, "user_name": "Alice", "user_username": "alice", "commits": [],
        "total_commits_count": 0, "project": {"name": "r"}, "repository": {"name": "r", "url": "git@evil.example:o/r"},
    }  # fmt: skip


class Request:
    """As much of a web request as the dialects look at."""

    def __init__(self, body: bytes, method: bytes = b"POST", **headers: str) -> None:
        self.content, self.method, self.args = io.BytesIO(body), method, {}
        self._headers = {k.replace("_", "-").lower(): v for k, v in headers.items()}

    def getHeader(self, name: str | bytes) -> Any:
        text = name.decode() if isinstance(name, bytes) else name
        value = self._headers.get(text.lower())
        return value.encode() if value is not None and isinstance(name, bytes) else value


def ask(kind: Any, request: Request, secret: str = SECRET) -> list[dict[str, Any]]:
    hook = kind(None, {"secret": secret, "repository": REPOSITORY, "tags": r"v[0-9].*"})
    found: list[Any] = []
    defer.maybeDeferred(hook.getChanges, request).addBoth(found.append)
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return list(found[0][0])


def from_github(payload: Any, event: str = "push", secret: str = SECRET, **more: Any) -> list[dict[str, Any]]:
    body = json.dumps(payload).encode()
    mac = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    headers = {"X_Hub_Signature": f"sha1={mac}", "X_GitHub_Event": event, "Content_Type": "application/json"}
    return ask(GitHubTags, Request(body, **{**headers, **more}))


def from_gitlab(payload: Any, token: str = SECRET, **more: Any) -> list[dict[str, Any]]:
    return ask(GitLabTags, Request(json.dumps(payload).encode(), X_Gitlab_Token=token, **more))


@pytest.mark.parametrize(("hear", "payload"), [(from_github, github), (from_gitlab, gitlab)])
def test_a_tag_is_the_same_change_as_from_gitea(hear: Any, payload: Any) -> None:
    (change,) = hear(payload())
    assert (change["branch"], change["revision"], change["category"]) == ("refs/tags/v1", TAG, TAG_CATEGORY)
    assert (change["repository"], change["author"]) == (REPOSITORY, "alice")
    (gone,) = hear(payload(after=NOTHING, before=TAG))
    assert gone["category"] == DELETED_CATEGORY
    for other in ("refs/heads/v1", "refs/heads/tags/v1", "refs/tags/nightly"):
        assert hear(payload(other)) == []


def test_other_events_mean_nothing_and_ask_nobody() -> None:
    for event in ("pull_request", "create", "delete", "release", "ping"):
        assert from_github(github(), event) == []
    for kind in ("push", "merge_request", "note", "release"):
        assert from_gitlab(gitlab(kind=kind)) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: from_github(github(), secret="another"),
        lambda: from_github(github(), X_Hub_Signature=""),
        lambda: from_github(github(), method=b"GET"),
        lambda: from_gitlab(gitlab(), token="another"),
        lambda: from_gitlab(gitlab(), token=""),
        lambda: from_gitlab(gitlab(), method=b"GET"),
        lambda: ask(GitLabTags, Request(b"{}", X_Gitlab_Token=""), secret=" "),
        lambda: ask(GitHubTags, Request(b"x" * (MAX_BODY_BYTES + 1))),
        lambda: ask(GitLabTags, Request(b"x" * (MAX_BODY_BYTES + 1), X_Gitlab_Token=SECRET)),
        lambda: ask(GitHubTags, Request(b"{}"), secret=""),
    ],
)
def test_what_is_not_signed_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|signature|Hash mismatch|secret"):
        call()


def test_each_forge_that_is_heard_needs_its_own_secret(tmp_path: Path) -> None:
    folder = make_site(tmp_path)
    file = folder / "master.toml"
    file.write_text(file.read_text().replace("[repository]\n", '[repository]\nhooks = ["github", "gitlab"]\n'))
    with pytest.raises(SettingsError, match="hook-github: expected a secret"):
        configure(folder, tmp_path / "state")
    assert make_secrets(folder) == ["hook-github", "hook-gitlab"]
    dialects = configure(folder, tmp_path / "state")["www"]["change_hook_dialects"]
    assert {name: d["custom_class"] for name, d in dialects.items()} == {"github": GitHubTags, "gitlab": GitLabTags}
