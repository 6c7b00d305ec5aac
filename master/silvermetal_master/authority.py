"""The master's own certificate authority: certificates for the worker port and for each enrolled worker.

Rules:

- The keys of authority and port are secrets of the master; a worker's key is made on the worker and stays there.
- A worker's certificate counts only while it stands in ``tls/workers/<worker>.pem``: taking it out revokes it.
- The master's certificate is for :data:`SERVER_NAME`, whatever its address: who pins the authority needs no other.
- Nothing is overwritten in place: temporary name, sync, rename.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from silvermetal_proof.ledger.store import write_durably

from silvermetal_master.errors import SettingsError
from silvermetal_master.secret_files import write_secret

SERVER_NAME = "master.silvermetal.internal"
CA_KEY = "tls-authority.pem"
SERVER_KEY = "tls-server.pem"
CA_DAYS = 3650
CERTIFICATE_DAYS = 398
_EARLY = timedelta(days=1)
"""Before now, so that a machine whose clock is behind still takes a certificate that was just made."""
MAX_REQUEST_BYTES = 16384


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def authority_file(folder: Path) -> Path:
    """The authority's certificate, which workers pin."""
    return folder / "tls" / "authority.pem"


def server_file(folder: Path) -> Path:
    """The worker port's certificate."""
    return folder / "tls" / "server.pem"


def worker_file(folder: Path, worker: str) -> Path:
    """The certificates with which a worker may connect, and the authority's."""
    return folder / "tls" / "workers" / f"{worker}.pem"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, data, replace=True)


def _sign(
    subject: str, public: object, issuer: x509.Name, key: EllipticCurvePrivateKey, *, days: int, now: datetime,
    usage: x509.ObjectIdentifier | None, alternative: x509.GeneralName | None = None,
) -> x509.Certificate:  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=usage is None, path_length=0 if usage is None else None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if alternative is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    return builder.sign(key, hashes.SHA256())


def _authority(folder: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority_file(folder).read_bytes())
        key = load_pem_private_key((folder / "secrets" / CA_KEY).read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{authority_file(folder)}: expected the authority and its key, got {type(error).__name__}; "
            f"`silvermetal-master make-secrets {folder}` makes one"
        ) from None
    assert isinstance(key, EllipticCurvePrivateKey)
    return certificate, key


def make_authority(folder: Path, now: datetime | None = None) -> None:
    """Make the authority, where there is none, and a certificate for the worker port."""
    at = now or datetime.now(UTC)
    if not authority_file(folder).exists():
        key = generate_private_key(SECP256R1())
        subject = "SilverMetal workers' authority"
        write_secret(folder / "secrets" / CA_KEY, _pem(key))
        made = _sign(subject, key.public_key(), _name(subject), key, days=CA_DAYS, now=at, usage=None)
        _write(authority_file(folder), made.public_bytes(Encoding.PEM))
    renew_server(folder, at)


def renew_server(folder: Path, now: datetime) -> None:
    """Make the worker port's certificate anew; the running master takes it for the next connection."""
    authority, key = _authority(folder)
    file = folder / "secrets" / SERVER_KEY
    if not file.exists():
        write_secret(file, _pem(generate_private_key(SECP256R1())))
    own = load_pem_private_key(file.read_bytes(), password=None)
    made = _sign(
        SERVER_NAME, own.public_key(), authority.subject, key, days=CERTIFICATE_DAYS, now=now,
        usage=ExtendedKeyUsageOID.SERVER_AUTH, alternative=x509.DNSName(SERVER_NAME),
    )  # fmt: skip
    _write(server_file(folder), made.public_bytes(Encoding.PEM))


def admit(folder: Path, worker: str, request: bytes, now: datetime, *, days: int = CERTIFICATE_DAYS) -> Path:
    """Sign a worker's request; return the file to hand to the worker. An earlier certificate counts on until it ends.

    :raises SettingsError: when the request is none, or for another worker.
    """
    try:
        asked = x509.load_pem_x509_csr(request[:MAX_REQUEST_BYTES])
        if not asked.is_signature_valid:
            raise InvalidSignature
    except (ValueError, InvalidSignature) as error:
        raise SettingsError(
            f"certificate request of {worker}: expected keys/tls.csr of the worker, got {type(error).__name__}"
        ) from None
    names = [str(a.value) for a in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [worker]:
        raise SettingsError(f"certificate request: expected one for worker {worker}, got {names!r:.200}")
    authority, key = _authority(folder)
    made = _sign(
        worker, asked.public_key(), authority.subject, key, days=days, now=now, usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        alternative=x509.UniformResourceIdentifier(f"urn:silvermetal:worker:{worker}"),
    )  # fmt: skip
    path = worker_file(folder, worker)
    earlier = [c for c in certificates(path) if c.not_valid_after_utc > now and c != authority][:1]
    _write(path, b"".join(c.public_bytes(Encoding.PEM) for c in (made, *earlier, authority)))
    return path


def certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a file; none where there is no file."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except FileNotFoundError:
        return []
