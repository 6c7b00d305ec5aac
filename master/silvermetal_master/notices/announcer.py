"""The announcer: sees in the records what has to be told, and puts it into the outbox.

Rules:

- It looks at the records and not at events (H13): what ended while the master was dying is told after its next start.
  Events only say when to look.
- What was put into the outbox is marked afterwards; death between the two puts the same message again, under one key.
- An installation's first start is the beginning: what ended before it is not told.
- Only verifications are told of: the builds of single hosts are green when they differ (H2).
- It never fails a build: it runs beside them, and an error of its own is in the log.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from buildbot.util.service import BuildbotService
from silvermetal_proof import ProofError, canonical
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.tags import TagEvent
from twisted.internet import defer
from twisted.internet.threads import deferToThread
from twisted.python import log

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.notices import words
from silvermetal_master.notices.outbox import Message, Outbox
from silvermetal_master.notices.words import Audience
from silvermetal_master.recovery import ABANDONED
from silvermetal_master.tag_book import now_text

ANNOUNCER = "announcer"
STEPS = frozenset({"pin", "judge", "record"})
MAX_NOTE_BYTES = 65536


class Announcer(BuildbotService):
    """Puts what ``audience`` is to be told of ``state`` into the outbox."""

    name = ANNOUNCER

    def checkConfig(self, *, state: str, audience: Audience) -> None:
        """Nothing beyond the settings' own check."""

    def reconfigService(self, *, state: str, audience: Audience) -> None:
        """Take the settings."""
        self.state, self.audience = Path(state), audience

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._consumers: list[Any] = []
        self._looking: defer.Deferred[Any] | None = None
        self._again = False
        self._settled: set[str] = set()
        self._notes: dict[str, int] = {}

    @defer.inlineCallbacks
    def startService(self) -> Generator[Any, Any, None]:
        """Begin with what is there."""
        yield super().startService()
        for consume, key in ((self._step, ("steps", None, "finished")), (self._missing, ("workers", None, "missing"))):
            self._consumers.append((yield self.master.mq.startConsuming(consume, key)))
        self.look()

    @defer.inlineCallbacks
    def stopService(self) -> Generator[Any, Any, None]:
        """End after the look that runs."""
        for consumer in self._consumers:
            consumer.stopConsuming()
        self._consumers = []
        yield super().stopService()
        if self._looking is not None:
            yield self._looking

    def _step(self, _key: Any, step: dict[str, Any]) -> None:
        if step["name"] in STEPS:
            self.look()

    def _missing(self, _key: Any, worker: dict[str, Any]) -> None:
        notice = words.of_missing_worker(worker["name"], str(worker["last_connection"]), self.audience)
        told = deferToThread(self._tell, words.messages(self.audience, notice, at=now_text(), now=int(time.time())))
        told.addCallback(lambda _: self._wake())
        told.addErrback(log.err, "while telling of a missing worker")

    def tag_alarm(self, event: TagEvent) -> None:
        """Tell of a tag; on a thread of the caller's."""
        notice = words.of_tag(event, self.audience)
        self._tell(words.messages(self.audience, notice, at=now_text(), now=int(time.time())))
        self.master.reactor.callFromThread(self._wake)

    def look(self) -> None:
        """Look now, or once more when the look that runs is over."""
        if self._looking is not None:
            self._again = True
            return
        self._again = False
        self._looking = deferToThread(self._look)
        self._looking.addErrback(log.err, "while looking for what is to be told")
        self._looking.addBoth(self._end)

    def _end(self, _result: Any) -> None:
        self._looking = None
        self._wake()
        if self._again and self.running:
            self.look()

    def _wake(self) -> None:
        courier = self.master.service_manager.namedServices.get("courier")
        if courier is not None:
            courier.wake()

    def _tell(self, messages: Iterable[Message]) -> None:
        for message in messages:
            Outbox(self.state).put(message)

    def _began(self) -> str:
        """When this installation began to tell."""
        file = self.state / "outbox" / "began"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(file, f"{now_text()}\n".encode(), replace=True)
        return file.read_text(encoding="ascii").strip()

    def _look(self) -> None:
        began = self._began()
        asked = []
        for path in (self.state / "builds").glob("*/request.json"):
            if path.parent.name not in self._settled:
                asked.append((path.stat().st_mtime_ns, path.parent))
        for _, path in sorted(asked):
            try:
                if self._record(BuildRecord(path), began):
                    self._settled.add(path.name)
            except (ProofError, OSError, ValueError) as error:
                log.msg(f"build {path.name}: expected a record that can be told of, got {error}")
        for file in (self.state / "by-ref").glob("*.json"):
            seen = file.stat().st_mtime_ns
            if self._notes.get(file.name) == seen:
                continue
            try:
                self._note(file, began)
                self._notes[file.name] = seen
            except (ProofError, OSError, ValueError) as error:
                log.msg(f"{file}: expected a note that can be told of, got {error}")

    def _record(self, record: BuildRecord, began: str) -> bool:
        """Tell of one build; return whether there is nothing more to tell of it."""
        mark = record.file("announced")
        told = mark.read_text(encoding="ascii").strip() if mark.exists() else ""
        if told == "final":
            return True
        request, now = record.request, int(time.time())
        place: dict[str, Any] = {"ref": request.ref, "commit": request.commit, "page": record.page, "now": now}
        if not record.judged:
            if not told:
                said = "every host is asked to build it"
                self._tell(words.status(self.audience, state="pending", description=said, **place))
                record.write("announced", b"pending\n")
            return False
        if not record.file("ledger-index").exists():
            return False
        verdict = record.verdict
        if verdict.decided < began:
            return True
        if not all((h.problem or "").endswith(ABANDONED) for h in verdict.hosts):
            # An abandoned verification is asked for again, and that one's end is the commit's status.
            said = f"{verdict.outcome}: {verdict.summary}"
            self._tell(words.status(self.audience, state=words.state_of(verdict), description=said, **place))
        if not verdict.passed:
            notice = words.of_verdict(verdict, record.page)
            self._tell(words.messages(self.audience, notice, at=verdict.decided, now=now))
        record.write("announced", b"final\n")
        return True

    def _note(self, file: Path, began: str) -> None:
        """Tell of a verification that ended without a verdict."""
        note = canonical.decode(file.read_bytes(), limit=MAX_NOTE_BYTES, what=str(file))
        if not isinstance(note, dict) or "failed" not in note or str(note.get("at", "")) < began:
            return
        mark, now = file.with_suffix(".announced"), int(time.time())
        if mark.exists() and mark.read_text(encoding="ascii").strip() == note["at"]:
            return
        commit, page = note.get("commit"), str(note.get("page", ""))
        if commit:
            said = {"state": words.state_of(None), "description": f"no verdict: {note['failed']}"}
            self._tell(words.status(self.audience, ref=note["ref"], commit=commit, page=page, now=now, **said))
        notice = words.of_failure(note["ref"], note["failed"], note["at"], commit, page)
        self._tell(words.messages(self.audience, notice, at=note["at"], now=now))
        write_durably(mark, f"{note['at']}\n".encode(), replace=True)
