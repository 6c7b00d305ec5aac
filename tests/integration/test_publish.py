"""A tag becomes a release: real master, real workers, the stand-in for Gitea; and the master killed at every step."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.fakes.gitea.server import TOKEN
from tests.support.browser import Browser
from tests.support.hostile import OPERATOR, PASSWORD
from tests.support.processes import wait_until
from tests.support.publishing import Publishing

pytestmark = pytest.mark.system


def test_a_reproduced_tag_is_published_whole_and_the_token_is_nowhere(publishing: Publishing) -> None:
    running = publishing.service
    publishing.publish("v1")
    assert running.verdict("v1").outcome is Outcome.REPRODUCED
    publishing.assert_whole("v1")
    assert running.builds_of("publish")[-1]["results"] == 0
    for path in running.basedir.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in (running.folder / "master.log").read_text(errors="replace")
    assert not list(running.state.rglob("delivery.json")), "the one-time token is gone"


def test_a_diverged_tag_is_not_published(publishing: Publishing) -> None:
    running = publishing.service
    running.workers["host-b"].behave('before() { hostname >> "$work/tree/payload"; }')
    try:
        running.push_tag("v2")
        assert running.verdict("v2").outcome is Outcome.DIVERGED
        running.wait_idle()
    finally:
        running.workers["host-b"].behave("")
    assert publishing.release("v2") is None
    assert not [b for b in running.builds_of("publish") if b["results"] is None]


def test_h4_anonymous_calls_start_no_publication(publishing: Publishing) -> None:
    running = publishing.service
    before = len(running.builds_of("publish"))
    for path in ("forceschedulers/verify-a-commit", "builds/1", "buildrequests/1"):
        for method in ("force", "rebuild", "cancel"):
            with pytest.raises(urllib.error.HTTPError):
                running.api(path, jsonrpc="2.0", id=1, method=method, params={"builderid": 1})
    assert len(running.builds_of("publish")) == before


def test_h4_an_operators_force_with_the_publishers_builder_and_any_property_publishes_nothing(
    publishing: Publishing,
) -> None:
    running = publishing.service
    diverged = running.verdict("v2")
    builder = next(b["builderid"] for b in running.api("builders")["builders"] if b["name"] == "publish")
    olga = Browser(running, OPERATOR, PASSWORD)
    before = len(running.builds_of("publish"))
    properties = {"silvermetal_build": diverged.build}
    status = olga.force(builderid=builder, branch="refs/tags/v2", revision=diverged.commit, **properties)
    assert status == 200
    wait_until(lambda: len(running.builds_of("publish")) > before, "the forced build", timeout=30)
    running.wait_idle()
    assert running.builds_of("publish")[-1]["results"] == 2, publishing.said("publish")
    # The caller's property does not even arrive; tests/attacks/test_publish_calls.py edits it where it would.
    assert "expected the id of a build of this master, got 'None'" in publishing.said("publish", 1)
    assert publishing.release("v2") is None


def test_a_rebuilt_publication_changes_nothing(publishing: Publishing) -> None:
    """The operator's way to start a failed one again; of one that succeeded it only looks."""
    running = publishing.service
    publishing.publish("v4")
    files, calls = publishing.files("v4"), len(publishing.gitea.calls)
    newest, count = running.builds_of("publish")[-1], len(running.builds_of("publish"))
    assert Browser(running).control(f"builds/{newest['buildid']}", "rebuild") == 403
    assert Browser(running, OPERATOR, PASSWORD).control(f"builds/{newest['buildid']}", "rebuild") == 200
    wait_until(lambda: len(running.builds_of("publish")) > count, "the rebuilt build", timeout=30)
    running.wait_idle()
    assert running.builds_of("publish")[-1]["results"] == 0, publishing.said("publish")
    assert all(call.startswith("GET") for call in publishing.gitea.calls[calls:])
    assert publishing.files("v4") == files
    publishing.assert_whole("v4")


def _state(name: str) -> Callable[[Publishing, Path, str], bool]:
    return lambda publishing, record, tag: (record / "release" / name).exists()


POINTS: dict[str, Callable[[Publishing, Path, str], bool]] = {
    "admitted": lambda publishing, record, tag: (record / "release").exists(),
    "the ISO begins to come": _state("incoming.part"),
    "the ISO is there": _state("tiny.iso"),
    "assembled": _state("SHA256SUMS.sig"),
    "a draft": lambda publishing, record, tag: publishing.release(tag) is not None,
    "a first asset": lambda publishing, record, tag: bool((publishing.release(tag) or {}).get("assets")),
    "published": lambda publishing, record, tag: publishing.published(tag),
    "the folder's copy begins": lambda publishing, record, tag: (
        publishing.service.folder / "shelf" / f".{tag}.part"
    ).exists(),
    "in the folder": lambda publishing, record, tag: (publishing.service.folder / "shelf" / tag).exists(),
    "noted": lambda publishing, record, tag: (record / "release-url").exists(),
}


# Half a minute each: the usual run has one, `-m bench` all.
EVERY_RUN = "a first asset"


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, id=name, marks=() if name == EVERY_RUN else pytest.mark.bench) for n, name in enumerate(POINTS)],
)
def test_the_master_is_killed_and_the_release_is_one_and_whole(publishing: Publishing, number: int) -> None:
    running, reached = publishing.service, list(POINTS.values())[number]
    tag = f"v3-{number}"
    before = len(running.builds_of("publish"))
    running.push_tag(tag)
    verdict = running.verdict(tag)
    record = running.state / "builds" / verdict.build
    end = time.monotonic() + 60
    while not reached(publishing, record, tag):
        assert time.monotonic() < end, f"not reached: {publishing.said('publish')}"
        time.sleep(0.002)
    assert running.master is not None
    running.master.kill()
    running.start_master()
    running.wait_connected("host-a", "host-b")
    wait_until(lambda: publishing.published(tag), "the release", timeout=90, programs=[running.master])
    running.wait_idle(120)
    assert running.builds_of("publish")[-1]["results"] == 0, publishing.said("publish")
    publishing.assert_whole(tag)
    for build in running.builds_of("publish")[before:]:
        assert build["results"] in (0, 5), publishing.said("publish")  # SUCCESS, or RETRY of the one that was killed
