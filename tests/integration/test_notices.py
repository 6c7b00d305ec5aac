"""Statuses, mail and webhook of a real master: who is told what, and that it arrives whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from silvermetal_proof.verdict import Outcome

from tests.fakes.gitea.server import TOKEN, Gitea
from tests.fakes.receiver import Receiver
from tests.fakes.smtp import Relay
from tests.support.hostile import hostile
from tests.support.processes import free_port, wait_until
from tests.support.tagged import Tagged

pytestmark = pytest.mark.system
SECRET = "secret-of-the-webhook"
CONTEXT = "silvermetal/verify"
DIFFERS = (
    "def says(statement, order):\n    statement['subject'][0]['digest']['sha256'] = '0' * 64\n    return statement\n"
)


class Told(Tagged):
    """A watched master with a Gitea, a relay and a receiver."""

    gitea: Gitea
    relay: Relay
    receiver: Receiver

    def write_settings(self, hosts: Any, **policy: int) -> None:
        self.extra = f"""{Tagged.extra}
[gitea]
url = "{self.gitea.url}"
owner = "o"
repository = "r"
receive = "127.0.0.1:{free_port()}"

[notices]
missing_after = 3

[notices.mail]
relay = "127.0.0.1"
port = {self.relay.port}
from = "master@example.org"
to = ["olga@example.org"]

[notices.webhook]
url = "{self.receiver.url}"
"""
        super().write_settings(hosts, **policy)
        for name, value in (("gitea-token", TOKEN), ("webhook", SECRET)):
            file = self.config / "secrets" / name
            file.write_text(value)
            file.chmod(0o600)

    def statuses(self, commit: str, tag: str) -> list[str]:
        return [s["status"] for c, s in self.gitea.statuses if (c, s["context"]) == (commit, f"{CONTEXT}/{tag}")]

    def wait_statuses(self, commit: str, tag: str, *states: str) -> None:
        wait_until(
            lambda: self.statuses(commit, tag) == list(states), f"the statuses {states} of {tag}", timeout=60,
            programs=[self.running_master],
        )  # fmt: skip

    def posts(self, **facts: Any) -> list[dict[str, Any]]:
        return [p for p in self.receiver.posts if all(p.get(k) == v for k, v in facts.items())]

    def wait_told(self, subject: str, **facts: Any) -> dict[str, Any]:
        """Until the notice is there by mail and by webhook; return what the webhook got."""

        def there() -> bool:
            return bool(self.posts(**facts)) and any(subject in m["Subject"] for _, _, m in self.relay.mails)

        wait_until(there, f"{subject} told", timeout=60, programs=[self.running_master])
        return self.posts(**facts)[0]

    def mails(self, subject: str) -> list[str]:
        return [m.get_payload() for _, _, m in self.relay.mails if subject in m["Subject"]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with Gitea() as gitea, Relay() as relay, Receiver(SECRET.encode()) as receiver:
        Told.gitea, Told.relay, Told.receiver = gitea, relay, receiver
        with hostile(tmp_path_factory.mktemp("told"), kind=Told) as running:
            running.looked()
            yield running
        assert gitea.wrong == [], "every request and answer is in Gitea's description"
        assert receiver.forged == []


def _silent(told: Told, tag: str) -> None:
    assert not told.posts(ref=f"refs/tags/{tag}")
    assert not told.mails(f": {tag}")


def test_reproduced_is_pending_then_success_and_nobody_is_bothered(told: Told) -> None:
    commit = told.push_tag("v1")
    assert told.verdict("v1").outcome is Outcome.REPRODUCED
    told.wait_statuses(commit, "v1", "pending", "success")
    _silent(told, "v1")
    ((_, last),) = [(c, s) for c, s in told.gitea.statuses if s["status"] == "success"]
    number = told.verifications("v1")[0]["number"]
    assert last["target_url"].startswith(f"http://127.0.0.1:{told.web}/#/builders/")
    assert last["target_url"].endswith(f"/builds/{number}")
    assert last["description"].startswith("REPRODUCED: ")
    assert {s["context"] for _, s in told.gitea.statuses} == {f"{CONTEXT}/v1"}, "of the verification alone (H2)"


def test_what_is_not_reproduced_is_a_failure_and_is_told_with_the_report(told: Told) -> None:
    commit = told.commit("diverges")
    verdict = told.judge("v2", host_b=DIFFERS)
    assert not verdict.passed
    told.wait_statuses(commit, "v2", "pending", "failure")
    post = told.wait_told(f"{verdict.outcome}: v2", ref="refs/tags/v2", outcome=str(verdict.outcome))
    assert (post["commit"], post["build"], post["event"]) == (commit, verdict.build, "verdict")
    (page,) = {s["target_url"] for c, s in told.gitea.statuses if c == commit}
    assert post["report"] == page
    (mail,) = told.mails(": v2")
    assert f"report: {page}" in mail
    assert verdict.summary in mail


def test_what_could_not_be_pinned_is_an_error_and_is_told(told: Told) -> None:
    (told.tree / "config" / "builder-image.env").write_text("BUILDER_IMAGE=\n")
    told.git("commit", "--quiet", "-am", "no image")
    told.push_tag("v3")
    commit = told.git("rev-parse", "HEAD")
    told.git("revert", "--no-edit", "HEAD")
    told.git("push", "--quiet", "origin", "main")
    told.wait_statuses(commit, "v3", "error")
    post = told.wait_told("no verdict: v3", ref="refs/tags/v3", event="no-verdict")
    assert "BUILDER_IMAGE is not pinned" in post["summary"]
    assert "/builds/" in post["report"]


def test_a_moved_tag_is_told_once_and_its_release_is_refused(told: Told) -> None:
    first = told.commit("v4 begins")
    for liar in told.liars.values():
        liar.attack("")
    told.holds.at("after-Pin")
    told.tag("v4")
    told.holds.wait("after-Pin", told.running_master)
    second = told.commit("v4 moves")
    with told.no_event():
        told.tag("v4", force=True)
    post = told.wait_told("tag moved: v4", ref="refs/tags/v4", event="tag")
    assert first in post["summary"] and post["commit"] == second
    before = len(told.builds_of("publish"))
    told.holds.clear()
    verdict = told.verdict("v4")
    assert (verdict.outcome, verdict.commit) == (Outcome.REPRODUCED, first)
    told.wait_statuses(first, "v4", "pending", "success")
    wait_until(
        lambda: [b for b in told.builds_of("publish")[before:] if b["complete"]],
        "the end of its publication",
        timeout=60,
    )
    (publish,) = told.builds_of("publish")[before:]
    steps = {s["name"]: s for s in told.api(f"builds/{publish['buildid']}/steps")["steps"]}
    assert publish["results"] == 2
    assert "the tag was moved" in steps["admit"]["state_string"]
    assert "release" not in steps
    assert not [r for r in told.gitea.releases.values() if r["tag_name"] == "v4"]
    told.looked()
    assert len(told.posts(ref="refs/tags/v4", event="tag")) == 1
    assert told.statuses(second, "v4") == []


def test_servers_that_are_down_delay_no_verdict_and_get_everything_once_after_a_kill(told: Told) -> None:
    told.gitea.down = True
    told.relay.refuse = True
    told.receiver.answers = [503] * 1000
    commit = told.commit("servers are down")
    verdict = told.judge("v5", host_b=DIFFERS)
    box = told.state / "outbox"
    wait_until(
        lambda: {m["channel"] for m in _waiting(box)} == {"status", "mail", "webhook"}
        and all(m.get("problem") for m in _waiting(box)), "three messages that were refused", timeout=60,
        programs=[told.running_master],
    )  # fmt: skip
    told.running_master.kill()
    told.gitea.down = False
    told.relay.refuse = False
    told.receiver.answers = []
    told.restart("kill")
    told.wait_told(f"{verdict.outcome}: v5", ref="refs/tags/v5", outcome=str(verdict.outcome))
    told.wait_statuses(commit, "v5", "failure")
    wait_until(lambda: not _waiting(box), "an empty outbox", timeout=60)
    assert len(told.posts(ref="refs/tags/v5")) == len(told.mails(": v5")) == 1
    for path in told.basedir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert TOKEN.encode() not in data and SECRET.encode() not in data, path
    log = (told.folder / "master.log").read_text(errors="replace")
    assert TOKEN not in log and SECRET not in log


def _waiting(box: Any) -> list[dict[str, Any]]:
    found = []
    for file in box.glob("*.json"):
        try:
            found.append(json.loads(file.read_bytes()))
        except FileNotFoundError:
            continue
    return found


# Half a minute; the announcer's own tests hold the rule, and the test above kills the master too.
@pytest.mark.bench
@pytest.mark.parametrize("place", ["before-append", "before-note"])
def test_a_master_that_is_killed_at_its_record_tells_after_all(told: Told, place: str) -> None:
    tag = f"v6-{place}"
    commit = told.commit(tag)
    told.liars["host-b"].attack(DIFFERS)
    told.holds.at(place)
    told.push_tag(tag)
    told.holds.wait(place, told.running_master)
    told.restart("kill")
    told.wait_told(f": {tag}", ref=f"refs/tags/{tag}", commit=commit)
    told.wait_idle(90)
    wait_until(lambda: told.statuses(commit, tag)[-1:] == ["failure"], "the failure", timeout=60)
    builds = [p["build"] for p in told.posts(ref=f"refs/tags/{tag}")]
    assert len(builds) == len(set(builds)), "each verdict once"


def test_a_worker_that_is_missing_is_told(told: Told) -> None:
    told.receiver.posts.clear()
    told.relay.mails.clear()
    told.workers["host-b"].stop()
    post = told.wait_told("worker missing: host-b", event="worker", worker="host-b")
    assert post["report"].endswith("#/workers")
