"""``/metrics`` and ``/health`` on the master's own web port.

Rules:

- Both are for everybody and cheap: one look serves all that ask within :data:`FRESH_SECONDS`.
- ``/health`` answers 200 or 503 with the reasons as JSON; a database that does not answer in time is a reason.
- Looking never blocks the reactor; one that asks and goes away costs nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from buildbot.util.service import BuildbotService
from twisted.internet import defer
from twisted.internet.threads import deferToThread
from twisted.python import log
from twisted.web import resource, server

from silvermetal_master.host_worker import HostWorker
from silvermetal_master.monitoring.exposition import CONTENT_TYPE, Family, text_of
from silvermetal_master.monitoring.health import Health, Seen, judge
from silvermetal_master.monitoring.survey import Found, Survey, days_left, now
from silvermetal_master.monitoring.tally import Tally
from silvermetal_master.settings import load

FRESH_SECONDS = 2.0
DATABASE_SECONDS = 4.0


class _Page(resource.Resource):
    """A page whose answer ``make`` gives: status, content type, body."""

    isLeaf = True

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make

    def render_GET(self, request: Any) -> Any:
        """Answer when it is known."""
        gone: list[Any] = []
        request.notifyFinish().addErrback(gone.append)

        def send(answer: tuple[int, str, str]) -> None:
            if gone:
                return
            status, kind, body = answer
            request.setResponseCode(status)
            request.setHeader(b"content-type", kind.encode())
            request.setHeader(b"cache-control", b"no-store")
            request.write(body.encode())
            request.finish()

        def failed(failure: Any) -> None:
            log.err(failure, "a page of the monitoring failed")
            send((500, "text/plain", "the master's log says why\n"))

        defer.ensureDeferred(self._make()).addCallbacks(send, failed)
        return server.NOT_DONE_YET


class Monitoring(BuildbotService):
    """Puts the pages on the web, and listens to what is counted. ``config`` and ``state`` are folders."""

    name = "monitoring"
    _asking = False

    def checkConfig(self, *, config: str, state: str) -> None:
        """Nothing to check."""
        super().checkConfig()

    def reconfigService(self, *, config: str, state: str) -> Any:
        """Take the settings as they are now."""
        settings = load(Path(config), judging=True)
        self._hosts = [h.worker for h in settings.hosts if h.revoked is None]
        self._quorum = settings.policy.quorum
        self._survey = Survey(settings, Path(state))
        self._looking: defer.Deferred[Any] | None = None
        self._looked: tuple[float, Found, bool] | None = None
        return super().reconfigService()

    @defer.inlineCallbacks
    def startService(self) -> Any:
        """Begin."""
        yield super().startService()
        self._tally = Tally(self.master)
        yield self._tally.start()
        # The web's root is one object for the life of the process; the site is made of it later.
        root = self.master.www.apps.get("base").resource
        root.putChild(b"health", _Page(self._health))
        root.putChild(b"metrics", _Page(self._metrics))

    @defer.inlineCallbacks
    def stopService(self) -> Any:
        """End."""
        yield self._tally.stop()
        yield super().stopService()

    async def _look(self) -> tuple[Found, bool]:
        """The newest look, made by the first who asks; others wait for the same one."""
        at = self.master.reactor.seconds()
        if self._looked is not None and at - self._looked[0] < FRESH_SECONDS:
            return self._looked[1:]
        if self._looking is None:
            self._looking = defer.ensureDeferred(self._look_now())
        waiting: defer.Deferred[Any] = defer.Deferred()
        self._looking.addBoth(lambda said: (waiting.callback(said), said)[1])
        return await waiting

    async def _look_now(self) -> tuple[Found, bool]:
        try:
            found = await deferToThread(self._survey.look)
            answers = await self._database_answers()
            self._looked = (self.master.reactor.seconds(), found, answers)
            for problem in found.problems:
                log.msg(f"health: {problem}")
            return found, answers
        finally:
            self._looking = None

    async def _database_answers(self) -> bool:
        if self._asking:
            return False  # the last question still waits: another one would wait behind it
        asked = self.master.db.pool.do(lambda connection: connection.execute(sa.text("SELECT 1")).scalar())
        self._asking = True
        waiting: defer.Deferred[Any] = defer.Deferred()

        def answered(said: Any) -> None:
            self._asking = False
            if not waiting.called:
                waiting.callback(said)

        asked.addBoth(answered)
        try:
            return bool(await waiting.addTimeout(DATABASE_SECONDS, self.master.reactor) == 1)
        except Exception as error:
            log.msg(f"health: database: expected an answer within {DATABASE_SECONDS} s, got {error!r:.300}")
            return False

    def _connected(self) -> set[str]:
        workers = self.master.workers.workers.items()
        return {name for name, w in workers if isinstance(w, HostWorker) and w.conn is not None}

    async def judged(self) -> tuple[Health, Found, bool]:
        """The judgement and what it is made of."""
        found, database = await self._look()
        seen = Seen(
            database=database,
            stopping=bool(self.master.botmaster.shuttingDown),
            disk_free=found.disk_free,
            ledger_holds=not found.problems,
            connected=len(self._connected()),
            quorum=self._quorum,
            ends={name: days_left(end) for name, end in found.ends.items()},
        )
        return judge(seen), found, database

    async def _health(self) -> tuple[int, str, str]:
        health, _, _ = await self.judged()
        body = {"ok": health.ok, "problems": health.problems, "warnings": health.warnings}
        return (200 if health.ok else 503), "application/json", json.dumps(body, sort_keys=True) + "\n"

    async def _metrics(self) -> tuple[int, str, str]:
        health, found, database = await self.judged()
        families = [*self._tally.families, *self._survey.families(found), *self._workers()]
        healthy = Family("silvermetal_healthy", "gauge", "1 when /health answers 200.")
        healthy.set(int(health.ok))
        families.append(healthy)
        if database:
            families += await self._queue()
        return 200, CONTENT_TYPE, text_of(families)

    def _workers(self) -> list[Family]:
        up = Family("silvermetal_worker_up", "gauge", "1 when an enrolled worker is connected.")
        here = self._connected()
        for worker in self._hosts:
            up.set(int(worker in here), worker=worker)
        quorum = Family("silvermetal_quorum", "gauge", "Hosts that must agree.")
        quorum.set(self._quorum)
        return [up, quorum]

    async def _queue(self) -> list[Family]:
        ask = "SELECT r.submitted_at FROM buildrequests r LEFT JOIN buildrequest_claims c ON c.brid = r.id "
        ask += "WHERE r.complete = 0 AND c.brid IS NULL"
        waiting = await self.master.db.pool.do(lambda c: [row[0] for row in c.execute(sa.text(ask))])
        ask_running = "SELECT count(*) FROM builds WHERE complete_at IS NULL"
        running = await self.master.db.pool.do(lambda c: c.execute(sa.text(ask_running)).scalar())
        oldest = max((now() - at for at in waiting), default=0.0)
        families = []
        for name, text, value in (
            ("silvermetal_queue_length", "Requests that wait for a worker.", len(waiting)),
            ("silvermetal_queue_oldest_seconds", "How long the oldest of them has waited.", max(0, int(oldest))),
            ("silvermetal_builds_running", "Builds that run.", running),
        ):
            family = Family(name, "gauge", text)
            family.set(value)
            families.append(family)
        return families
