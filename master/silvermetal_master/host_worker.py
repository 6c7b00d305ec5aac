"""The worker of an enrolled host: attached only when it proves, at each connect, that it holds its enrolled key.

Rules:

- The password alone is not enough: no answer, a wrong one or a late one ends the connection before the worker is
  attached, so no builder ever sees it and no order goes to it.
- Where workers connect by TLS, the certificate must be this worker's own; a host whose entry is revoked now is refused.
- The refusal is one line of the log with worker, address, expected and got; nothing of the answer is in it.
- A connection that was lost while the worker attached leaves no worker that looks connected.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from buildbot.util.misc import cancelAfter
from buildbot.worker import Worker
from silvermetal_proof.errors import ProofError, SignatureError
from silvermetal_proof.host.challenge import check_answer, fresh_nonce
from silvermetal_proof.statement import PublicKey
from twisted.internet import defer
from twisted.python import log

from silvermetal_master.connections import check_certificate
from silvermetal_master.enrolments import revoked_since

SECONDS_TO_ANSWER = 120
"""Long enough for a slow or emulated host, whose answer is a command of its own."""
METHOD = "proveKey"


class HostWorker(Worker):
    """A worker that must hold ``public_key``; the challenge names ``master_id``."""

    public_key = ""
    master_id = ""
    tls: str | None = None
    """The folder of settings, where workers connect by TLS."""
    entry: str | None = None
    """The file of the host's entry, which is read at each connect."""
    tls_identity: str | None = None
    """Of the connection that is attached: subject and digest of its certificate."""

    def checkConfig(
        self,
        name: str,
        password: Any,
        *,
        public_key: str,
        master_id: str,
        tls: str | None = None,
        entry: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Buildbot's check, and the key's form."""
        _ = PublicKey(public_key)
        super().checkConfig(name, password, **kwargs)

    def reconfigService(
        self,
        name: str,
        password: Any,
        *,
        public_key: str,
        master_id: str,
        tls: str | None = None,
        entry: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Take the key from now on."""
        self.public_key, self.master_id, self.tls, self.entry = public_key, master_id, tls, entry
        return super().reconfigService(name, password, **kwargs)

    def _ask(self, conn: Any) -> Generator[Any, Any, None]:
        nonce = fresh_nonce()
        asked = conn.mind.callRemote(METHOD, self.master_id, self.workername, nonce)
        try:
            said = yield cancelAfter(SECONDS_TO_ANSWER, asked, self.master.reactor)
        except defer.CancelledError:
            got = f"none within {SECONDS_TO_ANSWER} s"
            raise SignatureError("key challenge", expected="an answer", got=got) from None
        except Exception as error:
            # Whatever the other side raised is its own words: only the kind is told.
            raise SignatureError("key challenge", expected="an answer", got=type(error).__name__) from None
        check_answer(PublicKey(self.public_key), said, master=self.master_id, worker=self.workername, nonce=nonce)

    @defer.inlineCallbacks
    def attached(self, conn: Any) -> Generator[Any, Any, None]:
        """Attach the worker when it has proven its key; else end the connection."""
        identity = None
        try:
            if self.entry is not None and (since := revoked_since(Path(self.entry))) is not None:
                raise SignatureError("host's entry", expected="one that is not revoked", got=f"revoked {since}")
            if self.tls is not None:
                identity = check_certificate(conn.mind.broker.transport, Path(self.tls), self.workername)
            yield from self._ask(conn)
        except ProofError as error:
            log.msg(f"worker {self.workername} from {conn.get_peer()} is refused: {error}")
            conn.loseConnection()
        else:
            self.tls_identity = identity
            yield super().attached(conn)
        if conn.mind is not None and conn.mind.broker.disconnected:
            # Lost while it attached: Perspective Broker tells nobody of that, and it would look connected for ever.
            conn.detached(conn.mind)
