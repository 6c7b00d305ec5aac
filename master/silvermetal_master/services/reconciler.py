"""The reconciler: looks at the repository's tags from time to time and starts what was missed.

Rules:

- The plan is pure (``silvermetal_proof.tags``); here is what it looks at and what is done. What is to be remembered is
  written before it is told, and told before anything is started.
- It starts nothing by itself: it makes the change that the hook would have made, and the scheduler of tags decides.
- Git runs on a thread, bounded; while it fails, the pauses grow. Nothing here ever stops the master.
- The first look of an installation is the baseline: what is there then is watched and never started.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from buildbot.process.results import CANCELLED
from buildbot.util.service import BuildbotService
from silvermetal_proof import ProofError
from silvermetal_proof.backoff import backoff
from silvermetal_proof.tags import Plan, Progress, Tag, baseline, plan, unended
from twisted.internet import defer
from twisted.internet.threads import deferToThread
from twisted.python import log

from silvermetal_master.build_store import BuildStore
from silvermetal_master.errors import PinningError
from silvermetal_master.gitea.events import DELETED_CATEGORY, MOVED_CATEGORY, TAG_CATEGORY
from silvermetal_master.notices.announcer import ANNOUNCER
from silvermetal_master.tag_book import TagBook, now_text
from silvermetal_master.tag_listing import Listing
from silvermetal_master.tag_scheduler import TAG_SCHEDULER, buildsets_of

LONGEST_PAUSE = 3600
SOON = 1.0
AUTHOR = "reconciler"


class TagReconciler(BuildbotService):
    """Looks every ``every`` seconds at the tags of ``repository``; ``tags`` is a regular expression."""

    name = "tag-reconciler"

    def checkConfig(self, *, repository: str, tags: str, every: int, state: str) -> None:
        """Nothing beyond the settings' own check."""

    def reconfigService(self, *, repository: str, tags: str, every: int, state: str) -> None:
        """Take the settings."""
        self.repository, self.tags, self.every, self.state = repository, tags, every, Path(state)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._timer: Any = None
        self._looking: defer.Deferred[None] | None = None
        self._listing: Listing | None = None
        self._again = False
        self._failures = 0
        self._began = 0
        self._consumer: Any = None

    @defer.inlineCallbacks
    def startService(self) -> Generator[Any, Any, None]:
        """Begin to look."""
        yield super().startService()
        self._began = int(time.time())
        self._consumer = yield self.master.mq.startConsuming(self._changed, ("changes", None, "new"))
        self._in(0)

    @defer.inlineCallbacks
    def stopService(self) -> Generator[Any, Any, None]:
        """End, and git with it."""
        if self._consumer is not None:
            self._consumer.stopConsuming()
            self._consumer = None
        yield super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._listing is not None:
            self._listing.stop()
        if self._looking is not None:
            yield self._looking

    def _changed(self, _key: Any, change: dict[str, Any]) -> None:
        """An event says that a tag was moved or deleted: look for it soon."""
        if change["category"] in (MOVED_CATEGORY, DELETED_CATEGORY):
            self.soon()

    def soon(self) -> None:
        """Look now, or once more when the look that runs is over."""
        if self._looking is not None:
            self._again = True
        elif self.running:
            self._in(SOON)

    def _in(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self.master.reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        scheduler = self.master.scheduler_manager.namedServices.get(TAG_SCHEDULER)
        if scheduler is None or not scheduler.consuming:
            # A change that nobody sees is lost.
            self._in(SOON)
            return
        self._looking = defer.Deferred()
        self._again = False
        looked = defer.ensureDeferred(self.look())
        looked.addErrback(log.err, "while looking at the repository's tags")
        looked.addBoth(self._end)

    def _end(self, _result: Any) -> None:
        looking, self._looking = self._looking, None
        if self.running:
            pause = backoff(self._failures, first=self.every, most=max(LONGEST_PAUSE, self.every))
            self._in(SOON if self._again and not self._failures else max(pause, self.every))
        if looking is not None:
            looking.callback(None)

    async def look(self) -> None:
        """One look: list, plan, remember, tell, start."""
        self._failures += 1
        try:
            listed = await deferToThread(self._list)
            waits = await self._progress(listed)
            made = await deferToThread(self._plan, listed, waits)
            await deferToThread(TagBook(self.state).looked)
        except (PinningError, ProofError, OSError) as error:
            log.msg(f"tags of the repository: {error}; looking again later ({self._failures} failed)")
            return
        self._failures = 0
        for ref in made.start:
            tag = listed[ref]
            log.msg(f"{ref} at {tag.commit} was not started by any event: starting its verification")
            await self.master.data.updates.addChange(
                author=AUTHOR,
                comments=f"tag {ref.removeprefix('refs/tags/')} was found without a verification",
                files=[],
                revision=tag.object,
                branch=ref,
                category=TAG_CATEGORY,
                repository=self.repository,
                codebase="",
                project="",
            )

    def _list(self) -> dict[str, Tag]:
        self._listing = Listing(self.repository)
        try:
            return self._listing.run(self.tags)
        finally:
            self._listing = None

    async def _progress(self, listed: dict[str, Tag]) -> dict[str, Progress]:
        """How far each tag came that may have to be started."""
        found = {}
        for ref in await deferToThread(self._unended, listed):
            sets = await buildsets_of(self.master, ref)
            if any(not one["complete"] for one in sets):
                found[ref] = Progress.RUNNING
            elif any(one["results"] == CANCELLED for one in sets):
                found[ref] = Progress.ENDED
        # An end is noted before its builds are complete: looked for in this order, none falls between.
        return found | await deferToThread(self._ended, listed)

    def _unended(self, listed: dict[str, Tag]) -> list[str]:
        book = TagBook(self.state)
        if not book.has_baseline():
            return []
        ended = self._ended(listed)
        return [ref for ref in unended(listed, book.entries()) if ref not in ended]

    def _ended(self, listed: dict[str, Tag]) -> dict[str, Progress]:
        store = BuildStore(self.state)
        return {ref: Progress.ENDED for ref in listed if store.newest(ref) is not None}

    def _plan(self, listed: dict[str, Tag], waits: dict[str, Progress]) -> Plan:
        """Plan, and remember; on a thread."""
        book, store = TagBook(self.state), BuildStore(self.state)
        known = book.entries()
        if not book.has_baseline():
            judged = {}
            for ref in listed:
                build = (store.newest(ref) or {}).get("build")
                if build is not None:
                    judged[ref] = store.record(build).request.commit
            first = baseline(listed, known, judged, at=now_text())
            book.keep_baseline(first)
            log.msg(f"first look at the repository: {len(first)} tags are older than this service and stay as they are")
            # Whatever is new shows at the next look, which knows how far it came.
            self._again = True
            return Plan()
        made = plan(listed, known, waits, now=int(time.time()), at=now_text(), began=self._began)
        announcer = self.master.service_manager.namedServices.get(ANNOUNCER)
        for event in made.events:
            log.msg(event.sentence)
            if event.alarm and announcer is not None:
                announcer.tag_alarm(event)
        # What somebody else saw meanwhile under the name comes first: then it is no longer ours to start.
        kept = {ref: book.keep(entry) for ref, entry in made.entries.items()}
        made.start = [r for r in made.start if kept[r].means(listed[r].object, listed[r].commit)]
        return made
