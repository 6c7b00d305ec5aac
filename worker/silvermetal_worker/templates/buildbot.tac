"""The worker's application for twistd; `silvermetal-worker run` starts it.

The password is read from its own file here and is in no environment; keepalive is 60 s because the master's own is an
hour and cannot be set (facts: workers), so that a connection that died unseen is noticed.
"""

import os
import subprocess
from pathlib import Path

import buildbot_worker.pb
from buildbot_worker.bot import Worker
from twisted.application import service
from twisted.internet import endpoints, ssl, threads
from twisted.python import log
from twisted.spread import pb

basedir = Path(os.environ["SILVERMETAL_WORKER_DIR"])


class _Broker(pb.Broker):
    """Perspective Broker without Nagle's delay: file transfers stall 25 ms a block otherwise (H8)."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.setTcpNoDelay(True)


pb.PBClientFactory.protocol = _Broker


class _Bot(buildbot_worker.pb.BotPb):
    """Answers the master's key challenge at each connect, by a command: the key is not read in this process."""

    def remote_proveKey(self, master, worker, nonce):
        return threads.deferToThread(self._prove, str(master), str(worker), bytes(nonce).hex())

    def _prove(self, master, worker, nonce):
        argv = ["silvermetal-worker", "prove", f"--master={master}", f"--worker={worker}", f"--nonce={nonce}"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=110)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-500:]
            log.msg(f"the master's key challenge is not answered: {said}")
            # The master learns no more than that: the reason may name files of this host.
            raise pb.Error("no proof")
        return bytes.fromhex(done.stdout.decode("ascii").strip())


buildbot_worker.pb.BotPb = _Bot

class _TlsEndpoint:
    """The master's port by mutual TLS; keys are read at each connect, so that a renewed certificate needs no restart."""

    def __init__(self, reactor, inner):
        self._reactor, self._inner = reactor, inner

    def connect(self, factory):
        keys = basedir / "keys"
        own = ssl.PrivateCertificate.loadPEM((keys / "tls.key").read_bytes() + (keys / "tls.pem").read_bytes())
        authority = ssl.Certificate.loadPEM((keys / "authority.pem").read_bytes())
        options = ssl.optionsForClientTLS("master.silvermetal.internal", trustRoot=authority, clientCertificate=own)
        return endpoints.wrapClientTLS(options, self._inner).connect(factory)


if (basedir / "keys" / "tls.pem").exists():
    _plain = buildbot_worker.pb.clientFromString

    def _tls(reactor, description):
        return _TlsEndpoint(reactor, _plain(reactor, description))

    buildbot_worker.pb.clientFromString = _tls

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
