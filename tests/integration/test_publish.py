"""A tag becomes a release: real master, real workers, the stand-in for Gitea; and the master killed at every step."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from silvermetal_proof.release import parse_sums
from silvermetal_proof.verdict import Outcome

from tests.fakes.gitea.server import TOKEN, Gitea
from tests.support.browser import Browser
from tests.support.hostile import OPERATOR, PASSWORD
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, missing_for_service

pytestmark = pytest.mark.system


class Publishing:
    """A service with a Gitea."""

    def __init__(self, service: Service, gitea: Gitea) -> None:
        self.service = service
        self.gitea = gitea

    def release(self, tag: str) -> dict[str, object] | None:
        found = [r for r in self.gitea.releases.values() if r["tag_name"] == tag]
        assert len(found) <= 1, "one release of a tag at any time"
        return found[0] if found else None

    def published(self, tag: str) -> bool:
        release = self.release(tag)
        return release is not None and release["draft"] is False

    def assert_whole(self, tag: str) -> None:
        """The one release holds every file, with the digests of its own list, and the ISO of the verdict."""
        assert self.gitea.wrong == []
        release = self.release(tag)
        assert release is not None and release["draft"] is False
        files = {a["name"]: self.gitea.files[a["id"]] for a in release["assets"]}  # type: ignore[attr-defined]
        assert len(files) == len(release["assets"])  # type: ignore[arg-type]
        listed = parse_sums(files["SHA256SUMS"])
        assert set(files) == {*listed, "SHA256SUMS", "SHA256SUMS.minisig", "SHA256SUMS.sig"}
        for name, digest in listed.items():
            assert f"sha256:{hashlib.sha256(files[name]).hexdigest()}" == digest
        assert {"tiny.iso", "statement-host-a.json", "statement-host-b.json", "ledger-proof.json"} <= set(files)
        verdict = self.service.verdict(tag)
        assert listed["tiny.iso"] == f"sha256:{verdict.iso_sha256}"


@pytest.fixture(scope="module")
def publishing(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Publishing]:
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Service(tmp_path_factory.mktemp("publish"), free_port(), free_port(), *tiny_engine)
    running.write_settings(["host-a", "host-b"])
    with Gitea() as gitea:
        table = f'[gitea]\nurl = "{gitea.url}"\nowner = "o"\nrepository = "r"\nreceive = "127.0.0.1:{free_port()}"\n'
        settings = running.config / "master.toml"
        settings.write_text(f"{settings.read_text()}\n{table}")
        token = running.config / "secrets" / "gitea-token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        run([f"{BIN}/silvermetal-master", "operator", str(running.config), OPERATOR], input=PASSWORD + "\n")
        running.make_repository()
        try:
            running.start()
            yield Publishing(running, gitea)
        finally:
            running.stop()


def _said(running: Service, builder: str) -> str:
    builds = running.builds_of(builder)
    steps = [running.api(f"builds/{b['buildid']}/steps")["steps"] for b in builds[-2:]]
    return json.dumps([[s["name"], s["state_string"], s["results"]] for part in steps for s in part], indent=0)


def test_a_reproduced_tag_is_published_whole_and_the_token_is_nowhere(publishing: Publishing) -> None:
    running = publishing.service
    running.push_tag("v1")
    assert running.verdict("v1").outcome is Outcome.REPRODUCED
    try:
        wait_until(lambda: publishing.published("v1"), "the release", timeout=60)
    except AssertionError:
        raise AssertionError(_said(running, "publish") + _said(running, "deliver@host-a")) from None
    running.wait_idle()
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
    assert running.builds_of("publish")[-1]["results"] == 2, _said(running, "publish")
    assert publishing.release("v2") is None


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
        assert time.monotonic() < end, f"not reached: {_said(running, 'publish')}"
        time.sleep(0.002)
    assert running.master is not None
    running.master.kill()
    running.start_master()
    running.wait_connected("host-a", "host-b")
    wait_until(lambda: publishing.published(tag), "the release", timeout=90, programs=[running.master])
    running.wait_idle(120)
    publishing.assert_whole(tag)
    for build in running.builds_of("publish")[before:]:
        assert build["results"] in (0, 5), _said(running, "publish")  # SUCCESS, or RETRY of the one that was killed
