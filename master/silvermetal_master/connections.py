"""The worker port with mutual TLS: an endpoint ``tls:PORT[:interface=ADDRESS]``, which Buildbot 4.3.0 does not have.

Rules:

- A peer without a certificate of the master's own authority, or with one that is not valid now, gets no further than
  the handshake; the log names its address and why.
- The port's certificate is read again when its file changes: a renewal needs no restart.
- The certificate must be one that stands for this very worker now: another worker's, or one taken out, is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.worker.protocols.manager.pb import Dispatcher, PBManager
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from silvermetal_proof.errors import SignatureError
from twisted.application import strports
from twisted.internet import ssl
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python import log
from twisted.spread import pb

from silvermetal_master.authority import SERVER_KEY, authority_file, certificates, server_file, worker_file

PREFIX = "tls:"


class _Context:
    """The port's TLS context, made anew when one of its files has changed."""

    def __init__(self, folder: Path) -> None:
        self._files = (folder / "secrets" / SERVER_KEY, server_file(folder), authority_file(folder))
        self._seen: tuple[int, ...] = ()
        self._options: Any = None

    def getContext(self) -> Any:
        """What Twisted asks for at each connection."""
        seen = tuple(file.stat().st_mtime_ns for file in self._files)
        if seen != self._seen:
            key, certificate, authority = (file.read_bytes() for file in self._files)
            own = ssl.PrivateCertificate.loadPEM(key + certificate)
            self._options, self._seen = own.options(ssl.Certificate.loadPEM(authority)), seen
        return self._options.getContext()


class _Broker(pb.Broker):
    """Says why a handshake failed."""

    def connectionLost(self, reason: Any) -> None:
        """The connection is over."""
        if reason.check(ssl.SSL.Error):
            why = "; ".join(str(part[-1]) for part in reason.value.args[0]) if reason.value.args else "no reason given"
            log.msg(f"connection from {self.transport.getPeer().host} is refused: TLS: {why[:300]}")
        super().connectionLost(reason)


def use_tls(folder: Path) -> None:
    """Teach Buildbot's port for workers the endpoint ``tls:``, with the keys in ``folder``."""

    class TlsDispatcher(Dispatcher):
        def start_listening_port(self) -> Any:
            if not self.portstr.startswith(PREFIX):
                return super().start_listening_port()
            self.serverFactory.protocol = _Broker
            wrapped = TLSMemoryBIOFactory(_Context(folder), isClient=False, wrappedFactory=self.serverFactory)
            return strports.listen(f"tcp:{self.portstr.removeprefix(PREFIX)}", wrapped)

    PBManager.dispatcher_class = TlsDispatcher


def check_certificate(transport: Any, folder: Path, worker: str) -> str:
    """Return the TLS identity of a worker's connection. :raises SignatureError: when it is not this worker's own."""
    what = f"certificate of worker {worker}"
    if not hasattr(transport, "getPeerCertificate") or transport.getPeerCertificate() is None:
        raise SignatureError(what, expected="a client certificate", got="none")
    peer = x509.load_pem_x509_certificate(ssl.Certificate.peerFromTransport(transport).dumpPEM())
    names = [str(a.value) for a in peer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [worker]:
        raise SignatureError(what, expected=f"the name {worker}", got=", ".join(names))
    if peer not in certificates(worker_file(folder, worker)):
        raise SignatureError(
            what, expected=f"one of {worker_file(folder, worker).name}", got="another or a revoked one"
        )
    return f"CN={worker} sha256:{peer.fingerprint(hashes.SHA256()).hex()}"
