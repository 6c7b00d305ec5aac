"""The worker's application for twistd; `silvermetal-worker run` starts it.

The password is read from its own file here and is in no environment; keepalive is 60 s because the master's own is an
hour and cannot be set (facts: workers), so that a connection that died unseen is noticed.
"""

import os
from pathlib import Path

from buildbot_worker.bot import Worker
from twisted.application import service
from twisted.spread import pb

basedir = Path(os.environ["SILVERMETAL_WORKER_DIR"])


class _Broker(pb.Broker):
    """Perspective Broker without Nagle's delay: file transfers stall 25 ms a block otherwise (H8)."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.setTcpNoDelay(True)


pb.PBClientFactory.protocol = _Broker

application = service.Application("silvermetal-worker")
worker = Worker(
    os.environ["SILVERMETAL_MASTER_HOST"],
    int(os.environ["SILVERMETAL_MASTER_PORT"]),
    os.environ["SILVERMETAL_WORKER_NAME"],
    (basedir / "password").read_text(encoding="utf-8").strip(),
    str(basedir / "builds"),
    keepalive=60,
    umask=0o022,
    maxdelay=10,
    allow_shutdown=None,
    delete_leftover_dirs=False,
)
worker.setServiceParent(application)
