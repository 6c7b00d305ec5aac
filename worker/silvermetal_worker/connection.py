"""What ``doctor`` looks at between this host and the master: the worker's TLS files, their end, and the port itself.

Rules:

- The handshake is the worker's own: the pinned authority, the master's name, this worker's certificate. It counts when
  the master has spoken afterwards: by TLS 1.3 a refused certificate shows only then.
- A certificate that ends within :data:`RENEW_DAYS` is not good: a host that nobody renewed is away one morning.
- No password and no key is sent; the master logs a connection without a login at most.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from silvermetal_worker.certificate import AUTHORITY, CERTIFICATE, KEY
from silvermetal_worker.checks import Check, of_error
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, WorkerError
from silvermetal_worker.settings import WorkerDirectory

MASTER_NAME = "master.silvermetal.internal"
RENEW_DAYS = 21
CONNECT_SECONDS = 15
_RENEW = "on the master `silvermetal-master admit`, then here `silvermetal-worker admit` (docs/operations.md)"


def _bad(text: str) -> WorkerError:
    return WorkerError(text, EXIT_HOST_NOT_READY)


def _days(certificate: x509.Certificate, now: datetime) -> str:
    """How long it counts. :raises WorkerError: when it does not now, or not for long."""
    left = certificate.not_valid_after_utc - now
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        raise _bad(f"one that counts from {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}; is the clock right?")
    if left.total_seconds() <= 0:
        raise _bad(f"one that ended on {until}")
    if left.days < RENEW_DAYS:
        raise _bad(f"one that ends on {until}, in {left.days} days")
    return f"until {until}"


def _key(directory: WorkerDirectory) -> str:
    file = directory.path / "keys" / KEY
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise _bad(f"mode {mode:04o}; `chmod 600 {file}`")
    try:
        load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise _bad(f"{file}: {type(error).__name__}") from None
    return "readable by its owner alone"


def _certificate(directory: WorkerDirectory, name: str) -> x509.Certificate:
    file = directory.path / "keys" / name
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError:
        raise _bad(f"no {file}") from None
    except ValueError as error:
        raise _bad(f"{file}: {error}") from None


def _own(directory: WorkerDirectory, now: datetime) -> str:
    mine, authority = _certificate(directory, CERTIFICATE), _certificate(directory, AUTHORITY)
    key = load_pem_private_key((directory.path / "keys" / KEY).read_bytes(), password=None)
    if mine.public_key() != key.public_key():
        raise _bad("one for another key")
    try:
        mine.verify_directly_issued_by(authority)
    except Exception as error:
        raise _bad(f"one of another authority ({type(error).__name__})") from None
    return _days(mine, now)


def _shake_hands(directory: WorkerDirectory, now: datetime) -> str:
    keys = directory.path / "keys"
    host, _, port = directory.settings.master.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(keys / AUTHORITY)
    context.load_cert_chain(keys / CERTIFICATE, keys / KEY)
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=MASTER_NAME) as tls,
    ):
        if not tls.recv(1):
            raise _bad("a connection that the master closed")
        theirs = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    return f"{directory.settings.master} answers; its certificate counts {_days(theirs, now)}"


def connection_checks(directory: WorkerDirectory, now: datetime | None = None) -> Iterator[Check]:
    """The worker's side of the connection, then the connection."""
    at = now or datetime.now(UTC)
    key = of_error("TLS key", "a key that its owner alone can read", lambda: _key(directory))
    yield key
    if not key.good:
        return
    mine = of_error("TLS certificate", f"one for {RENEW_DAYS} days or more", lambda: _own(directory, at), _RENEW)
    yield mine
    if (directory.path / "keys" / CERTIFICATE).exists() and (directory.path / "keys" / AUTHORITY).exists():
        mend = f"look at name, port and firewall of {directory.settings.master}, and at the master's log"
        yield of_error("master", "an answer by mutual TLS", lambda: _shake_hands(directory, at), mend)
