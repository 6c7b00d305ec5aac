"""What is said of each end, to whom: commit statuses, mail, webhook. Pure.

Rules:

- A status is about the verification of one ref, as it is now: pending, success, failure (the hosts' answers do not hold
  together) or error (there is no answer, or the service itself is at fault).
- People are told of every end that is not REPRODUCED, of a tag that was moved, and of a worker that is missing; each
  message links the report.
- A message's id comes from what it is about: sent twice, it is seen to be the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from silvermetal_proof.errors import printable
from silvermetal_proof.tags import TagEvent
from silvermetal_proof.verdict import Outcome, Verdict, render

from silvermetal_master.notices.outbox import Channel, Message

MAX_DESCRIPTION = 250
MAX_TEXT = 100_000


@dataclass(frozen=True)
class Audience:
    """Who is told. ``context`` names commit statuses; ``title`` and ``url`` are the service's own."""

    title: str
    url: str
    statuses: bool = False
    context: str = "silvermetal/verify"
    mail: bool = False
    webhook: bool = False


@dataclass(frozen=True)
class Notice:
    """One thing to tell. ``about`` is what makes it one: two notices about the same have one id."""

    about: str
    kind: str
    subject: str
    text: str
    report: str
    facts: dict[str, Any]

    @property
    def delivery(self) -> str:
        """The id of the notice, 32 hex digits."""
        return hashlib.sha256(self.about.encode()).hexdigest()[:32]


def state_of(verdict: Verdict | None) -> str:
    """The state of the commit status for an end; None stands for an end without a verdict."""
    if verdict is None or (verdict.outcome is Outcome.INCOMPLETE and verdict.ours):
        return "error"
    return "success" if verdict.passed else "failure"


def status(
    audience: Audience, *, ref: str, commit: str, state: str, description: str, page: str, now: int
) -> list[Message]:
    """The status of one commit, where statuses are wanted."""
    if not audience.statuses:
        return []
    context = f"{audience.context}/{ref.removeprefix('refs/').removeprefix('tags/')}"
    payload = {
        "commit": commit,
        "state": state,
        "context": context,
        "description": printable(description, MAX_DESCRIPTION),
        "target_url": page or audience.url,
    }
    return [Message(key=f"status {commit} {context}", channel="status", payload=payload, created=now)]


def _short(ref: str) -> str:
    return printable(ref.removeprefix("refs/tags/"), 100)


def of_verdict(verdict: Verdict, page: str) -> Notice:
    """The notice of a verdict."""
    facts = {
        "ref": verdict.ref,
        "commit": verdict.commit,
        "outcome": str(verdict.outcome),
        "independence": f"I{verdict.level}",
        "build": verdict.build,
        "summary": verdict.summary,
    }
    subject = f"{verdict.outcome}: {_short(verdict.ref)}"
    return Notice(f"verdict {verdict.build}", "verdict", subject, render(verdict), page, facts)


def of_failure(ref: str, why: str, at: str, commit: str | None, page: str) -> Notice:
    """The notice of a verification that ended without a verdict."""
    facts = {"ref": ref, "commit": commit, "outcome": None, "summary": printable(why, 2000)}
    text = f"{ref} has no verdict: {printable(why, 2000)}\n"
    return Notice(f"failure {ref} {at}", "no-verdict", f"no verdict: {_short(ref)}", text, page, facts)


def of_tag(event: TagEvent, audience: Audience) -> Notice:
    """The notice of what became of a tag."""
    facts = {"ref": event.ref, "change": str(event.kind), "commit": event.now, "summary": event.sentence}
    about = f"tag {event.ref} {event.kind} {event.now}"
    return Notice(about, "tag", f"tag {event.kind}: {_short(event.ref)}", f"{event.sentence}\n", audience.url, facts)


def of_missing_worker(worker: str, since: str, audience: Audience) -> Notice:
    """The notice of a worker that is not connected."""
    sentence = f"worker {printable(worker, 100)} is not connected; last seen before {printable(since, 100)}"
    facts = {"worker": worker, "summary": sentence}
    report = f"{audience.url}#/workers"
    return Notice(f"worker {worker} {since}", "worker", f"worker missing: {worker}", f"{sentence}\n", report, facts)


def messages(audience: Audience, notice: Notice, *, at: str, now: int) -> list[Message]:
    """A notice on every channel that is wanted."""
    report = notice.report or audience.url
    channels: list[tuple[Channel, dict[str, Any]]] = []
    if audience.mail:
        text = f"{notice.text[:MAX_TEXT]}\nreport: {report}\n"
        subject = printable(f"[{audience.title}] {notice.subject}", 200)
        channels.append(("mail", {"id": notice.delivery, "subject": subject, "text": text, "at": at}))
    if audience.webhook:
        body = {**notice.facts, "version": 1, "event": notice.kind, "delivery": notice.delivery, "at": at}
        channels.append(("webhook", {**body, "report": report}))
    return [
        Message(key=f"{channel} {notice.delivery}", channel=channel, payload=payload, created=now)
        for channel, payload in channels
    ]
