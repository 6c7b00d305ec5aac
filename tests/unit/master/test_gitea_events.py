"""Gitea's push events: only a signed push of a tag that exists becomes a change (H9)."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from silvermetal_master.gitea.events import (
    DELETED_CATEGORY,
    MAX_BODY_BYTES,
    MAX_DELIVERIES,
    MOVED_CATEGORY,
    TAG_CATEGORY,
    GiteaEvents,
    changes_of,
    signature,
)
from silvermetal_master.gitea.notify import event_of
from twisted.internet import defer

REPOSITORY = "https://git.example.org/silvermetal/live.git"
AFTER, NOTHING = "a" * 40, "0" * 40
TAGS = r"v[0-9].*"


def push(ref: str = "refs/tags/v1", after: str = AFTER, **more: Any) -> dict[str, Any]:
    return {"ref": ref, "before": NOTHING, "after": after, "pusher": {"login": "alice"}, **more}


def changes(payload: Any, event: str = "push") -> list[dict[str, Any]]:
    return changes_of(event, payload, repository=REPOSITORY, tags=TAGS)


def test_a_pushed_tag_is_one_change_of_its_full_ref() -> None:
    (change,) = changes(push())
    assert (change["branch"], change["revision"], change["category"]) == ("refs/tags/v1", AFTER, TAG_CATEGORY)
    assert (change["repository"], change["author"]) == (REPOSITORY, "alice")


def test_the_repository_is_ours_whatever_the_event_says() -> None:
    (change,) = changes(push(repository={"clone_url": "https://evil.example/x.git"}))
    assert change["repository"] == REPOSITORY


def test_a_moved_tag_is_shown_and_the_pin_step_says_what_becomes_of_it() -> None:
    moved, pushed = changes(push(before="b" * 40))
    assert (moved["category"], pushed["category"], pushed["revision"]) == (MOVED_CATEGORY, TAG_CATEGORY, AFTER)
    assert "b" * 40 in moved["comments"]


def test_a_deleted_tag_is_shown_and_starts_nothing() -> None:
    (deleted,) = changes(push(after=NOTHING, before="b" * 40))
    assert (deleted["category"], deleted["revision"], deleted["branch"]) == (DELETED_CATEGORY, "b" * 40, "refs/tags/v1")


@pytest.mark.parametrize(
    "payload",
    [
        push("refs/heads/v1"),
        push("refs/heads/refs/tags/v1"),
        push("refs/heads/v1", NOTHING, before=AFTER),
        push("refs/tags/nightly"),
        push("refs/tags/xv1"),
        push("refs/tags/v1\n"),
        push("refs/tags/v1 v2"),
        push("refs/tags/-v1"),
        push("refs/tags/v1" + "x" * 300),
        push("v1"),
    ],
)
def test_h9_what_is_no_new_tag_is_no_change(payload: Any) -> None:
    assert changes(payload) == []


@pytest.mark.parametrize("event", ["create", "delete", "release", "", "PUSH"])
def test_other_events_are_no_change(event: str) -> None:
    assert changes(push(), event) == []


@pytest.mark.parametrize(
    "payload",
    [None, [], "text", {}, push(after="HEAD"), push(after="A" * 40), push(after="a" * 39), {"ref": 1, "after": AFTER}],
)
def test_a_push_without_its_fields_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="push event: expected"):
        changes(payload)


@pytest.mark.parametrize("pusher", [None, [], {}, {"login": 7}, {"login": ""}])
def test_a_pusher_without_a_name_is_unknown(pusher: Any) -> None:
    assert changes(push(pusher=pusher))[0]["author"] == "unknown"


def test_h5_a_pushers_name_is_a_bounded_line() -> None:
    author = changes(push(pusher={"login": "\x1b[31m<b>\n" + "x" * 500}))[0]["author"]
    assert author.isprintable()
    assert len(author) <= 101


# The hook itself

SECRET = b"secret"


class Request:
    """As much of a web request as the hook looks at."""

    def __init__(self, body: bytes, method: bytes = b"POST", **headers: str) -> None:
        self.content = io.BytesIO(body)
        self.method = method
        self._headers = {k.replace("_", "-").lower(): v for k, v in headers.items()}

    def getHeader(self, name: str) -> str | None:
        return self._headers.get(name.lower())


def ask(request: Request, secret: str = SECRET.decode(), master: Any = None) -> Any:
    """What the hook answers; the error it raises is raised here."""
    hook = GiteaEvents(master, {"secret": secret, "repository": REPOSITORY, "tags": TAGS})
    found: list[Any] = []
    answer = defer.maybeDeferred(hook.getChanges, request)
    answer.addBoth(found.append)
    assert found, "the hook must answer without waiting here"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def signed(body: bytes, **more: str) -> Request:
    return Request(body, X_Gitea_Signature=signature(SECRET, body), X_Gitea_Event="push", **more)


def test_a_signed_push_is_accepted() -> None:
    found, kind = ask(signed(json.dumps(push()).encode()))
    assert (len(found), kind) == (1, "git")


def test_our_own_notifier_speaks_as_gitea_does() -> None:
    found, _ = ask(signed(event_of(f"{NOTHING} {AFTER} refs/tags/v1\n", REPOSITORY)))
    assert found[0]["branch"] == "refs/tags/v1"
    (gone,) = ask(signed(event_of(f"{AFTER} {NOTHING} refs/tags/v1\n", REPOSITORY)))[0]
    assert gone["category"] == DELETED_CATEGORY


def test_a_delivery_that_came_before_starts_nothing_again() -> None:
    hook = GiteaEvents(None, {"secret": SECRET.decode(), "repository": REPOSITORY, "tags": TAGS})
    body = json.dumps(push()).encode()

    def deliver(number: str) -> int:
        found: list[Any] = []
        hook.getChanges(signed(body, X_Gitea_Delivery=number)).addBoth(found.append)
        return len(found[0][0])

    assert [deliver(n) for n in ("one", "one", "two", "one", "", "")] == [1, 0, 1, 0, 1, 1]
    for number in range(MAX_DELIVERIES):
        hook._came_before(f"other {number}")
    assert len(hook._deliveries) == MAX_DELIVERIES
    with pytest.raises(ValueError, match="signature"):
        ask(Request(body, X_Gitea_Delivery="three"))
    assert deliver("three") == 1, "what was refused was not accepted before"


BODY = json.dumps(push()).encode()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(BODY, X_Gitea_Event="push"), "signature does not hold"),
        (Request(BODY, X_Gitea_Event="push", X_Gitea_Signature=""), "signature does not hold"),
        (Request(BODY, X_Gitea_Event="push", X_Gitea_Signature="é"), "signature does not hold"),
        (Request(BODY, X_Gitea_Event="push", X_Gitea_Signature="0" * 64), "signature does not hold"),
        (Request(BODY, X_Gitea_Signature=signature(b"other", BODY)), "signature does not hold"),
        (Request(BODY + b" ", X_Gitea_Signature=signature(SECRET, BODY)), "signature does not hold"),
        (Request(BODY, b"GET", X_Gitea_Signature=signature(SECRET, BODY)), "expected POST"),
        (Request(BODY, b"PUT", X_Gitea_Signature=signature(SECRET, BODY)), "expected POST"),
        (signed(b"x" * (MAX_BODY_BYTES + 1)), f"expected at most {MAX_BODY_BYTES} bytes"),
        (signed(b"payload=%7B%7D"), "event is not JSON"),
        (signed(b"\xff"), "event is not UTF-8"),
        (signed(b'{"ref":"refs/heads/x","ref":"refs/tags/v1"}'), "the same key twice"),
        (signed(b"[" * 100), "nested too deeply"),
        (signed(b"[]"), "expected a JSON object"),
    ],
)
def test_what_is_refused_is_a_value_error_which_is_answered_400(request_: Request, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(request_)


def test_the_secret_never_stands_in_an_error() -> None:
    with pytest.raises(ValueError, match="signature") as caught:
        ask(Request(BODY), secret="very-secret-indeed")
    assert "very-secret-indeed" not in str(caught.value)


@pytest.mark.parametrize("secret", ["", " \n"])
def test_without_a_secret_every_event_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="the hook has no secret"):
        ask(Request(BODY, X_Gitea_Signature=signature(b"", BODY)), secret=secret)
