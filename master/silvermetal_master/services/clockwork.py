"""A service of the master that does one thing again and again.

Rules:

- One round at a time; a round that fails is logged and the next one comes all the same.
- Nothing of it outlives the master: stopping waits for the round that runs.
"""

from __future__ import annotations

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet import defer, task
from twisted.python import log


class Clockwork(BuildbotService):
    """Calls :meth:`round` every :attr:`every` seconds while the master runs."""

    every = 1.0
    _loop: task.LoopingCall | None = None
    _running: defer.Deferred[Any] | None = None

    async def round(self) -> None:
        """What is done."""
        raise NotImplementedError

    def _round(self) -> defer.Deferred[Any]:
        self._running = defer.ensureDeferred(self.round())
        return self._running.addErrback(log.err, f"{self.name}: a round failed; the next one is tried")

    @defer.inlineCallbacks
    def startService(self) -> Any:
        """Begin."""
        yield super().startService()
        self._loop = task.LoopingCall(self._round)
        self._loop.clock = self.master.reactor
        self._loop.start(self.every, now=False)

    @defer.inlineCallbacks
    def stopService(self) -> Any:
        """End, when the round that runs has ended."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self._running is not None:
            yield self._running
        yield super().stopService()
