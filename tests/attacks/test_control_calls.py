"""Attacks by the master's own doors: its web interface, its change hook, its workers' port.

Rules:

- A refused call is refused by its status, and by what does not happen: no build, no verdict, no change of the ledger.
- What an operator may do (force, rebuild, cancel) still decides nothing: only the fan-out's own requests count (H3, H4).
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
from pathlib import Path

import pytest
from silvermetal_master.gitea.events import signature
from silvermetal_proof.verdict import Outcome, Verdict

from tests.support import bot
from tests.support.browser import Browser
from tests.support.hostile import OPERATOR, PASSWORD, Hostile
from tests.support.processes import Program, wait_until

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def judged(service: Hostile) -> Verdict:
    """One build that is judged, for the attacks on what is over."""
    verdict = service.judge("v3-judged")
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    service.wait_idle()
    return verdict


@pytest.fixture
def olga(service: Hostile) -> Browser:
    return Browser(service, OPERATOR, PASSWORD)


def _state(service: Hostile) -> tuple[int, int, int]:
    """What an attack must not move: builds, requests, verdicts."""
    builds, requests = (len(service.api(path)[path]) for path in ("builds", "buildrequests"))
    return builds, requests, len(service.recorded())


CALLS = [
    ("forceschedulers/verify-a-commit", "force"),
    ("builds/1", "rebuild"),
    ("builds/1", "stop"),
    ("buildrequests/1", "cancel"),
    ("builders/1", "disable"),
    ("schedulers/1", "enable"),
    ("workers/1", "stop"),
    ("workers/1", "kill"),
    ("workers/1", "pause"),
]


@pytest.mark.parametrize(("path", "method"), CALLS, ids=[f"{m}_{p.partition('/')[0]}" for p, m in CALLS])
def test_anonymous_call(service: Hostile, judged: Verdict, path: str, method: str) -> None:
    before = _state(service)
    commit = service.git("rev-parse", "HEAD")
    status = Browser(service).control(path, method, branch="refs/heads/main", revision=commit, enabled=False)
    # 501: Buildbot has no such call at all.
    assert status == 403 or (status in (400, 404, 501) and method == "disable"), status
    assert _state(service) == before
    assert all(w["connected_to"] and not w["paused"] for w in service.api("workers")["workers"])


def test_operator_with_a_wrong_password(service: Hostile) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        Browser(service, OPERATOR, "a wrong password")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        Browser(service, "nobody", PASSWORD)


def _hook(service: Hostile, body: bytes, headers: dict[str, str]) -> int:
    return Browser(service).post("change_hook/gitea", body, {"X-Gitea-Event": "push", **headers})


def _event(service: Hostile, ref: str = "refs/tags/v9-forged", after: str | None = None) -> bytes:
    return json.dumps({"ref": ref, "after": after or service.git("rev-parse", "HEAD")}).encode()


HOOKS = [
    "unsigned",
    "signed_with_another_secret",
    "signature_of_another_body",
    "sha256_prefix",
    "huge",
    "deep",
    "not_json",
]


@pytest.mark.parametrize("name", HOOKS)
def test_webhook(service: Hostile, name: str) -> None:
    service.git("tag", "-f", "v9-forged")
    secret = (service.config / "secrets" / "hook").read_bytes().strip()
    body = _event(service)
    if name == "huge":
        body = b" " * (4 * 1024 * 1024) + body
    elif name == "deep":
        body = b"[" * 100_000
    elif name == "not_json":
        body = b"ref=refs/tags/v9-forged"
    sign = {
        "unsigned": None,
        "signed_with_another_secret": signature(b"a guess", body),
        "signature_of_another_body": signature(secret, body + b" "),
        "sha256_prefix": "sha256=" + signature(secret, body),
    }.get(name, signature(secret, body))
    before = _state(service)
    assert _hook(service, body, {} if sign is None else {"X-Gitea-Signature": sign}) == 400
    assert _state(service) == before
    assert service.api("changes?order=-changeid&limit=1")["changes"][0]["branch"] != "refs/tags/v9-forged"


def test_webhook_of_another_dialect(service: Hostile) -> None:
    before = _state(service)
    for dialect in ("base", "github", "gitlab", "poller", ""):
        assert Browser(service).post(f"change_hook/{dialect}", b"{}", {}) in (400, 404)
    assert _state(service) == before


def test_signed_event_names_a_tag_that_moved(service: Hostile, judged: Verdict) -> None:
    """A true event held back: what the tag names now is not what it says."""
    body = _event(service, "refs/tags/v3-judged", "dead" * 10)
    secret = (service.config / "secrets" / "hook").read_bytes().strip()
    before = len(service.recorded())
    assert _hook(service, body, {"X-Gitea-Signature": signature(secret, body)}) == 200
    wait_until(lambda: (service.store_note("refs/tags/v3-judged") or {}).get("failed"), "the refusal", timeout=30)
    note = service.store_note("refs/tags/v3-judged")
    assert note is not None
    assert f"expected {'dead' * 10}" in note["failed"]
    assert "the tag was moved" in note["failed"]
    service.wait_idle()
    assert len(service.recorded()) == before, "nothing was built, so there is nothing to judge"


def test_branch_named_like_a_tag(service: Hostile) -> None:
    """H9."""
    before = _state(service)
    service.git("push", "--quiet", "origin", "HEAD:refs/heads/v9")
    service.git("push", "--quiet", "origin", "HEAD:refs/heads/tags/v9")
    service.wait_idle()
    assert _state(service) == before


@pytest.mark.parametrize("name", ["a_wrong_password", "the_siblings_password", "a_name_that_nobody_has", "no_password"])
def test_worker_with(service: Hostile, name: str, tmp_path: Path) -> None:
    real = service.liars["host-b"].directory
    folder = tmp_path / "worker"
    # All that host-b has, its certificate too; only the name or the password is another.
    shutil.copytree(real / "keys", folder / "keys")
    settings = (real / "worker.toml").read_text()
    (folder / "worker.toml").write_text(
        settings.replace('name = "host-b"', 'name = "host-x"') if "name" in name else settings
    )
    sibling = (service.liars["host-a"].directory / "password").read_text()
    passwords = {"the_siblings_password": sibling, "no_password": "", "a_name_that_nobody_has": sibling}
    (folder / "password").write_text(passwords.get(name, "guess"))
    stranger = Program([sys.executable, bot.__file__, str(folder), str(service.pb), "127.0.0.9"], tmp_path / "log")
    try:
        wait_until(lambda: not stranger.running, "to be refused", timeout=15)
    finally:
        stranger.stop()
    assert "refused:" in stranger.tail()
    service.wait_connected("host-a", "host-b")


def test_second_connection_under_one_name_while_the_first_lives(service: Hostile, tmp_path: Path) -> None:
    """Who knows a worker's password cannot push it aside while it is there."""
    liar = service.liars["host-b"]
    argv = [sys.executable, bot.__file__, str(liar.directory), str(service.pb), "127.0.0.9"]
    second = Program(argv, tmp_path / "log")
    try:
        wait_until(lambda: not second.running, "to be refused", timeout=15)
    finally:
        second.stop()
    verdict = service.judge("v3-second")
    assert [h.peer for h in verdict.hosts] == ["127.0.0.1", "127.0.0.2"]


def _builder(service: Hostile, name: str) -> int:
    return int(next(b["builderid"] for b in service.api("builders")["builders"] if b["name"] == name))


def test_forced_child_has_no_order(service: Hostile, judged: Verdict, olga: Browser) -> None:
    """H4: REST's builderid reaches builders that the scheduler does not list, with properties of the caller's."""
    before = len(service.recorded())
    commit = service.git("rev-parse", "HEAD")
    properties = {"silvermetal_build": judged.build, "silvermetal_requests": {"host-b": 1}}
    status = olga.force(
        builderid=_builder(service, "iso@host-b"), branch="refs/heads/main", revision=commit, **properties
    )
    assert status in (200, 400)
    service.wait_idle()
    newest = service.builds_of("iso@host-b")[-1]
    steps = service.api(f"builds/{newest['buildid']}/steps")["steps"]
    assert newest["results"] == 2
    assert "no order for this host" in next(s for s in steps if s["name"] == "handover")["state_string"]
    assert len(service.recorded()) == before


def test_rebuilt_child_of_a_judged_build(service: Hostile, judged: Verdict, olga: Browser) -> None:
    """H3, and a statement late after the verdict: the property names a judged build, which takes nothing more."""
    before, child = len(service.recorded()), _child(service, "iso@host-b", judged.build)
    assert olga.control(f"builds/{child}", "rebuild") == 200
    service.wait_idle()
    newest = service.builds_of("iso@host-b")[-1]
    steps = service.api(f"builds/{newest['buildid']}/steps")["steps"]
    assert newest["buildid"] != child
    assert "is judged already" in next(s for s in steps if s["name"] == "handover")["state_string"]
    assert len(service.recorded()) == before
    assert service.verdict("v3-judged") == judged


def _child(service: Hostile, builder: str, build: str) -> int:
    """The child of one of our builds."""
    for candidate in reversed(service.builds_of(builder)):
        properties = service.api(f"builds/{candidate['buildid']}/properties")["properties"][0]
        if properties.get("silvermetal_build", [None])[0] == build:
            return int(candidate["buildid"])
    raise AssertionError(f"{builder} has no build of {build}")


def test_rebuilt_child_of_a_running_build_is_not_counted(service: Hostile, olga: Browser) -> None:
    """H3: the rebuilt child gets the running build's property; what it says (another ISO) is nobody's answer."""
    service.liars["host-a"].attack("")
    service.liars["host-b"].attack(
        "async def runs(update, words):\n"
        " from twisted.internet import reactor, task\n"
        " if 'build' in words: await task.deferLater(reactor, 8, lambda: None)\n"
        " return 0"
    )
    known = len(service.builds_of("iso@host-a"))
    service.push_tag("v3-running")

    def first_answer() -> bool:
        builds = service.builds_of("iso@host-a")
        return len(builds) > known and bool(builds[-1]["complete"])

    wait_until(first_answer, "host-a's first answer", timeout=30)
    service.liars["host-a"].attack("def says(s, order): s['subject'][0]['digest']['sha256'] = 'e' * 64")
    child = service.builds_of("iso@host-a")[-1]["buildid"]
    assert olga.control(f"builds/{child}", "rebuild") == 200
    wait_until(lambda: len(service.builds_of("iso@host-a")) == known + 2, "the rebuilt child", timeout=20)
    verdict = service.verdict("v3-running")
    service.wait_idle()
    assert service.builds_of("iso@host-a")[-1]["results"] == 0, "it was built and collected, and not counted"
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    assert "e" * 64 not in {h.iso_sha256 for h in verdict.hosts}
    assert verdict in service.recorded()


def test_collapsed_requests(service: Hostile, olga: Browser) -> None:
    """H1: three equal requests at once are three verifications with a verdict each, not one and two green nothings."""
    for liar in service.liars.values():
        liar.attack("")
    before = len(service.recorded())
    commit = service.git("rev-parse", "HEAD")
    for _ in range(3):
        assert olga.force(branch="refs/heads/main", revision=commit) == 200
    wait_until(lambda: len(service.recorded()) >= before + 3, "three verdicts", timeout=60)
    service.wait_idle()
    new = service.recorded()[before:]
    assert len(new) == len({v.build for v in new}) == 3
    assert not any(v.policy.release for v in new)


def test_cancelled_child(service: Hostile, olga: Browser) -> None:
    """One host's request cancelled before it began: the other's answer alone is no proof."""
    liar = service.liars["host-b"]
    liar.stop()
    try:
        service.push_tag("v3-cancelled")

        def waiting() -> list[dict[str, object]]:
            builder = _builder(service, "iso@host-b")
            found = service.api(f"builders/{builder}/buildrequests?complete=false")["buildrequests"]
            return list(found)

        wait_until(waiting, "host-b's request", timeout=20)
        assert olga.control(f"buildrequests/{waiting()[0]['buildrequestid']}", "cancel") == 200
        verdict = service.verdict("v3-cancelled")
    finally:
        liar.start()
        service.wait_connected("host-b")
    assert verdict.outcome is Outcome.INCOMPLETE
    assert "expected 2 valid statements" in verdict.summary
    assert verdict in service.recorded()


def test_nothing_secret_is_readable_before_the_verdict(service: Hostile) -> None:
    """Nonces, orders and statements of a running build, looked for in all that anybody can read."""
    service.judge("v3-secrets")
    order = json.loads(
        next(service.state.glob(f"builds/{service.verdict('v3-secrets').build}/orders/host-a.json")).read_bytes()
    )
    for host in ("host-a", "host-b"):
        build = service.builds_of(f"iso@{host}")[-1]["buildid"]
        told = json.dumps(service.api(f"builds/{build}/properties"))
        for step in service.api(f"builds/{build}/steps")["steps"]:
            told += json.dumps(step)
            for log in service.api(f"steps/{step['stepid']}/logs")["logs"]:
                told += json.dumps(service.api(f"logs/{log['logid']}/contents"))
        assert order["nonce"] not in told
    request = service.state / "builds" / order["build"] / "request.json"
    assert request.stat().st_mode & 0o077 == 0, "it holds every host's nonce"
