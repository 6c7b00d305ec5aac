"""A build on a host, which ends also where Buildbot's own would not.

Rules:

- A worker that is lost while its build is being started makes Buildbot 4.3.0 fail inside (it asks the lost worker for
  its name, or into quarantine), and the build would run for ever and hold its host: here it ends RETRY, as any other
  lost worker's build.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from buildbot.process.build import Build
from buildbot.process.factory import BuildFactory
from buildbot.process.results import RETRY
from twisted.internet import defer
from twisted.python import log


class HostBuild(Build):
    """The build of every builder that belongs to a host: iso, explain, excerpt, deliver."""

    @defer.inlineCallbacks
    def startBuild(self, workerforbuilder: Any) -> Generator[Any, Any, None]:
        """Buildbot's; and an end, where the worker was lost in it."""
        try:
            yield super().startBuild(workerforbuilder)
        except Exception as error:
            gone = workerforbuilder.worker is None or workerforbuilder.worker.conn is None
            if not gone or self.finished or self.buildid is None:
                raise
            log.msg(f"{self}: its worker was lost while it was started: {error!r}")
            if getattr(self._preparation_step, "stepid", None) is not None:
                yield self.master.data.updates.finishStep(self._preparation_step.stepid, RETRY, False)
            yield self.buildFinished(["worker", "lost"], RETRY)


def on_host(factory: BuildFactory) -> BuildFactory:
    """``factory`` with builds of this kind."""
    factory.buildClass = HostBuild
    return factory
