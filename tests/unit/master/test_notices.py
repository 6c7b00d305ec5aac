"""What is told: to whom, in which words, and that it arrives once, whatever the other side does."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.gitea.client import GiteaClient, GiteaError
from silvermetal_master.notices import words
from silvermetal_master.notices.channels import UndeliveredError, send_mail, send_status, send_webhook
from silvermetal_master.notices.outbox import FIRST_PAUSE, LONGEST_PAUSE, MAX_TRIES, Message, Outbox
from silvermetal_master.notices.words import Audience
from silvermetal_proof.tags import Kind, TagEvent
from silvermetal_proof.verdict import Outcome, Policy, Submission, Verdict, decide

from tests.fakes.gitea.server import TOKEN, Gitea
from tests.fakes.receiver import Receiver
from tests.fakes.smtp import Relay
from tests.unit.proof.makers import A, B, C, case, hex64

# What these warn of is not ours.
with warnings.catch_warnings():
    from buildbot.reporters.mail import MailNotifier
    from twisted.internet import reactor
    from twisted.internet.task import deferLater
    from twisted.internet.tcp import Client
    from twisted.trial import unittest

COMMIT = "c" * 40
PAGE = "https://master.example.org/#/builders/1/builds/7"
EVERYBODY = Audience(title="T", url="https://master.example.org/", statuses=True, mail=True, webhook=True)
OTHER = hex64("another")


def absent(ours: bool) -> Submission:
    return Submission(B.name, None, problem="gone", ours=ours)


ENDS: dict[str, tuple[Verdict | None, str]] = {
    "reproduced": (decide(case(A, B)), "success"),
    "diverged": (decide(case(A, B, C.but(iso=OTHER))), "failure"),
    "invalid": (decide(case(A, B.but(size=6))), "failure"),
    "not independent": (decide(case(A, B, operators=(), policy=Policy(min_independence=3))), "failure"),
    "incomplete": (decide(case(A, B, submissions=[A.submission, absent(ours=False)])), "failure"),
    "incomplete by our own fault": (decide(case(A, B, submissions=[A.submission, absent(ours=True)])), "error"),
    "no verdict": (None, "error"),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_has_a_state_and_only_what_is_not_reproduced_a_notice_with_the_report(name: str) -> None:
    verdict, state = ENDS[name]
    assert words.state_of(verdict) == state
    if verdict is None:
        notice = words.of_failure("refs/tags/v1", "no such image", "2026-01-01T00:00:00Z", COMMIT, PAGE)
    else:
        notice = words.of_verdict(verdict, PAGE)
    mail, hook = words.messages(EVERYBODY, notice, at="2026-01-01T00:00:00Z", now=1)
    assert (mail.channel, hook.channel) == ("mail", "webhook")
    assert PAGE in mail.payload["text"] and hook.payload["report"] == PAGE
    assert mail.payload["id"] == hook.payload["delivery"] == notice.delivery
    outcome = str(verdict.outcome) if verdict is not None else "no verdict"
    assert outcome in mail.payload["subject"]
    assert hook.payload["outcome"] == (str(verdict.outcome) if verdict is not None else None)
    assert words.messages(Audience("T", "https://x/"), notice, at="2026-01-01T00:00:00Z", now=1) == []


def test_a_status_is_of_one_ref_bounded_and_without_what_a_page_obeys() -> None:
    args: dict[str, Any] = {"commit": COMMIT, "state": "failure", "page": "", "now": 1}
    (tag,) = words.status(EVERYBODY, ref="refs/tags/v1", description="\x1b[2J\n" + "x" * 999, **args)
    (branch,) = words.status(EVERYBODY, ref="refs/heads/main", description="", **args)
    assert tag.payload["context"] == "silvermetal/verify/v1"
    assert branch.payload["context"] == "silvermetal/verify/heads/main"
    assert tag.payload["description"].isprintable() and len(tag.payload["description"]) <= 251
    assert tag.payload["target_url"] == EVERYBODY.url
    assert words.status(Audience("T", "u"), ref="refs/tags/v1", description="", **args) == []


def test_a_moved_tag_and_a_missing_worker_are_told() -> None:
    event = TagEvent("refs/tags/v1", Kind.MOVED, "refs/tags/v1 was moved: expected a, got b", COMMIT)
    again = TagEvent("refs/tags/v1", Kind.MOVED, "refs/tags/v1 was moved: expected a, got c", "d" * 40)
    assert words.of_tag(event, EVERYBODY).delivery != words.of_tag(again, EVERYBODY).delivery
    (_, hook) = words.messages(EVERYBODY, words.of_tag(event, EVERYBODY), at="2026-01-01T00:00:00Z", now=1)
    assert (hook.payload["event"], hook.payload["change"], hook.payload["ref"]) == ("tag", "moved", "refs/tags/v1")
    (mail, _) = words.messages(
        EVERYBODY, words.of_missing_worker("host-a", "Monday", EVERYBODY), at="2026-01-01T00:00:00Z", now=1
    )
    assert mail.payload["subject"] == "[T] worker missing: host-a"
    assert f"{EVERYBODY.url}#/workers" in mail.payload["text"]


# The outbox


def message(key: str = "status c x", created: int = 1, **payload: Any) -> Message:
    return Message(key=key, channel="status", payload=payload, created=created)


def test_the_outbox_keeps_the_newest_of_a_key_and_forgets_only_what_was_sent(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    assert box.waiting() == []
    pending, success = message(state="pending"), message(state="success", created=2)
    box.put(pending)
    box.put(message("mail 1", 0))
    box.put(success)
    assert [m.key for m in Outbox(tmp_path).waiting()] == ["mail 1", "status c x"], "oldest first, after a restart too"
    box.sent(pending)
    assert box.waiting()[1] == success, "what was sent is not what holds now"
    assert box.failed(pending, "gone", 5) == success, "nor is it what is tried again"
    box.sent(success)
    box.sent(success)
    assert [m.key for m in box.waiting()] == ["mail 1"]


def test_pauses_grow_then_it_is_given_up_and_kept(tmp_path: Path) -> None:
    box, now, pauses = Outbox(tmp_path), 1000, []
    current: Message | None = message(state="success")
    assert current is not None
    box.put(current)
    while True:
        again = box.failed(current, "x" * 900, now)
        if again is None:
            break
        box.put(message(state="success"))
        assert box.waiting() == [again], "said again it keeps its tries"
        pauses.append(again.due - now)
        now, current = again.due, again
    assert len(pauses) == MAX_TRIES - 1
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    assert 2 * 86400 < now < 4 * 86400
    assert box.waiting() == []
    (kept,) = (tmp_path / "outbox" / "given-up").iterdir()
    assert json.loads(kept.read_bytes())["tries"] == MAX_TRIES


def test_a_damaged_message_stops_no_other(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.put(message())
    (box.path / "damaged.json").write_bytes(b"{")
    (box.path / ".half.json.1.2.tmp").write_bytes(b"{")
    assert len(box.waiting()) == 1


# The ways out


class Statuses(unittest.TestCase):
    timeout = 120

    @pytest.fixture(autouse=True)
    def _server(self) -> Any:
        with Gitea() as self.gitea:
            yield
        assert self.gitea.wrong == [], "every request and answer is in Gitea's description"

    def _payload(self, state: str, context: str = "silvermetal/verify/v1") -> dict[str, str]:
        return {"commit": COMMIT, "state": state, "context": context, "description": state, "target_url": PAGE}

    async def _send(self, payload: dict[str, str], token: str = TOKEN) -> None:
        await send_status(GiteaClient(reactor, self.gitea.url, "o", "r", token, backoff=0.01), payload)

    def _there(self, context: str = "silvermetal/verify/v1") -> list[str]:
        return [s["status"] for c, s in self.gitea.statuses if c == COMMIT and s["context"] == context]

    async def test_pending_then_success_and_said_again_nothing(self) -> None:
        for state in ("pending", "pending", "success", "success"):
            await self._send(self._payload(state))
        assert self._there() == ["pending", "success"]
        (_, made) = self.gitea.statuses[-1]
        assert (made["target_url"], made["description"]) == (PAGE, "success")

    async def test_another_context_and_another_commit_are_others(self) -> None:
        for number in range(60):
            await self._send(self._payload("pending", f"other/{number}"))
        await self._send(self._payload("success"))
        await self._send(self._payload("success"))
        for number in range(60):
            await self._send(self._payload("pending", f"other/{number}"))
        assert self._there() == ["success"]
        assert len(self.gitea.statuses) == 61, "also where the list has pages"

    async def test_any_call_may_fail_in_any_way_and_no_status_is_doubled(self) -> None:
        for fault in ("error", "lost"):
            for number in range(4):
                self.gitea.statuses.clear()
                self.gitea.calls.clear()
                self.gitea.faults = {number: fault}
                for state in ("pending", "success"):
                    for _ in range(3):
                        try:
                            await self._send(self._payload(state))
                            break
                        except GiteaError as error:
                            assert TOKEN not in str(error)
                assert not self.gitea.faults, "the fault was met"
                assert self._there() == ["pending", "success"], (fault, number)

    async def test_a_wrong_token_is_said_without_the_token(self) -> None:
        with pytest.raises(GiteaError, match="expected 200, got 404") as caught:
            await self._send(self._payload("pending"), "another-token")
        assert "another-token" not in str(caught.value)


class Webhooks(unittest.TestCase):
    timeout = 120

    async def test_the_signature_is_over_the_raw_body_and_only_2xx_counts(self) -> None:
        payload = {"delivery": "d" * 32, "at": "2026-01-01T00:00:00Z", "summary": "ä \U0001f600"}
        with Receiver(b"secret") as receiver:
            await send_webhook(reactor, receiver.url, b"secret", payload)
            assert receiver.posts == [payload]
            for answer in (302, 404, 500):
                receiver.answers = [answer]
                with pytest.raises(UndeliveredError, match=f"expected 2xx, got {answer}"):
                    await send_webhook(reactor, receiver.url, b"secret", payload)
            await send_webhook(reactor, receiver.url, b"another secret", payload)
            assert len(receiver.forged) == 1
            assert len(receiver.posts) == 1


class Mails(unittest.TestCase):
    timeout = 120

    async def test_the_relay_gets_one_plain_mail_with_an_id_and_a_refusal_is_an_error(self) -> None:
        payload = {"id": "d" * 32, "subject": "[T] DIVERGED: v1", "text": f"ä\n.\nreport: {PAGE}\n", "at": ""}
        with Relay() as relay:
            notifier = MailNotifier("master@example.org", relayhost="127.0.0.1", smtpPort=relay.port, generators=[])
            await notifier.configureService()
            recipients = ("olga@example.org", "otto@example.org")
            await send_mail(notifier, recipients, payload, reactor)
            ((sender, to, mail),) = relay.mails
            assert (sender, tuple(to)) == ("master@example.org", recipients)
            assert (mail["Subject"], mail["Message-ID"]) == (payload["subject"], f"<{'d' * 32}@example.org>")
            text = mail.get_payload(decode=True)
            assert isinstance(text, bytes)
            assert text.decode().replace("\r\n", "\n") == payload["text"]
            relay.refuse = True
            with pytest.raises(UndeliveredError, match="mail: expected the relay to take it, got"):
                await send_mail(notifier, recipients, payload, reactor)
            assert len(relay.mails) == 1
            # Twisted says that it was taken before it has said goodbye.
            for _ in range(500):
                if not [r for r in reactor.getReaders() if isinstance(r, Client)]:
                    break
                await deferLater(reactor, 0.02)


def test_the_state_of_every_outcome_is_one_that_gitea_has() -> None:
    states = {state for _, state in ENDS.values()}
    assert states <= {"pending", "success", "error", "failure"}
    assert {v.outcome for v, _ in ENDS.values() if v is not None} >= set(Outcome) - {Outcome.INPUT_DRIFT}
