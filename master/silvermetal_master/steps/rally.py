"""Asking every host and waiting no longer than the deadline: the part that the fan-out and the explanation share.

Rules:

- Requests are known by the ids that this trigger created, never by parent (H3).
- A host that is away, hangs or never comes ends the wait at the deadline (H6): its request is cancelled; a build that
  does not end then loses its connection, so that its buildset ends too.
- How the children ended is looked at by nobody here: green is not proof (H1, H2).
"""

from __future__ import annotations

from typing import Any

from buildbot.process.results import CANCELLED, SUCCESS
from buildbot.steps.trigger import Trigger
from twisted.internet import defer
from twisted.python import log

from silvermetal_master.steps.of_build import BUILD_PROPERTY, StepOfBuild

GRACE_SECONDS = 20
"""How long after the deadline a stopped build may take to end before its worker's connection is closed."""
POLL_SECONDS = 0.5


class Rally(Trigger, StepOfBuild):
    """Trigger one scheduler's builders and wait until all have ended or the deadline has passed."""

    def __init__(self, *, deadline: int, **kwargs: Any) -> None:
        super().__init__(waitForFinish=True, updateSourceStamp=False, **kwargs)
        self.deadline = deadline
        self.expired = False
        self.requests: dict[str, int] = {}

    def prepareSourcestampListForTrigger(self) -> list[dict[str, Any]]:
        """The same commit for every host: the one that the pin step resolved."""
        stamp = self.build.getSourceStamp("")
        return [
            {
                "codebase": "",
                "repository": stamp.repository,
                "project": stamp.project,
                "branch": stamp.branch,
                "revision": self.getProperty("commit"),
            }
        ]

    def handed_on(self) -> dict[str, Any]:
        """Only the build's id travels; the rest is in the record."""
        return {BUILD_PROPERTY: self.getProperty(BUILD_PROPERTY)}

    def createTriggerProperties(self, properties: dict[str, Any]) -> Any:
        """What is handed on, and nothing of the parent's."""
        return super().createTriggerProperties(self.handed_on())

    async def rally(self) -> int:
        """Run the trigger; return SUCCESS when it ran its course or expired, CANCELLED when somebody stopped it."""
        timer = self.master.reactor.callLater(self.deadline, self._expire)
        try:
            result = await Trigger.run(self)
        finally:
            if timer.active():
                timer.cancel()
            await self._learn_requests()
        if self.expired:
            await self._end_stragglers()
            return SUCCESS
        return CANCELLED if self.ended and result == CANCELLED else SUCCESS

    def getResultSummary(self) -> dict[str, str]:
        """The sentence that the step said; Trigger's own counts colours."""
        return StepOfBuild.getResultSummary(self)

    def _expire(self) -> None:
        """The deadline: cancel what has not ended, and wait for it only so long."""
        self.expired = True
        for brid in self.brids:
            control = self.master.data.control("cancel", {"reason": "deadline"}, ("buildrequests", brid))
            control.addErrback(log.err, f"cannot cancel request {brid}")
        self.ended = True
        if self.waitForFinishDeferred is not None:
            self.waitForFinishDeferred.cancel()

    async def _learn_requests(self) -> None:
        """Which host has which request, by the builder's name ``<kind>@<host>``."""
        for brid in self.brids:
            request = await self.master.data.get(("buildrequests", brid))
            builder = await self.master.data.get(("builders", request["builderid"]))
            self.requests[builder["name"].partition("@")[2]] = brid

    async def _end_stragglers(self) -> None:
        """Give stopped builds their grace; then take the connection away from those that still run."""
        waited = 0.0
        while (running := await self._unfinished()) and waited < GRACE_SECONDS:
            await _sleep(self.master.reactor, POLL_SECONDS)
            waited += POLL_SECONDS
        for build in running:
            await self._drop_connection(build)

    async def _unfinished(self) -> list[dict[str, Any]]:
        """Builds of our requests that have not ended."""
        found = []
        for brid in self.brids:
            builds = await self.master.data.get(("buildrequests", brid, "builds"))
            found += [b for b in builds if not b["complete"]]
        return found

    async def _drop_connection(self, build: dict[str, Any]) -> None:
        """Cut the connection of the worker that runs ``build``; Buildbot then ends the build."""
        for worker in self.master.workers.workers.values():
            if worker.workerid == build["workerid"] and worker.conn is not None:
                log.msg(f"{worker.workername} does not end build {build['buildid']}: cutting its connection")
                cut(worker.conn)
        # The lost connection makes Buildbot ask for the build again (H7); nobody waits for it any more.
        for _ in range(int(GRACE_SECONDS / POLL_SECONDS)):
            await _sleep(self.master.reactor, POLL_SECONDS)
            request = await self.master.data.get(("buildrequests", build["buildrequestid"]))
            if request["complete"]:
                return
            await self.master.data.control("cancel", {"reason": "deadline"}, ("buildrequests", build["buildrequestid"]))
        log.msg(f"request {build['buildrequestid']}: expected its end after its worker's connection was cut, got none")


def cut(conn: Any) -> None:
    """End a worker's connection now: a stopped process reads no more, so a goodbye would wait for it for ever."""
    transport = getattr(getattr(getattr(conn, "mind", None), "broker", None), "transport", None)
    if transport is not None and hasattr(transport, "abortConnection"):
        transport.abortConnection()
    else:
        conn.loseConnection()


def _sleep(reactor: Any, seconds: float) -> defer.Deferred[None]:
    done: defer.Deferred[None] = defer.Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done
