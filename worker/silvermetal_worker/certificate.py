"""The worker's TLS key, its request for a certificate, and the certificate that the master gave.

Rules:

- The key is made on the host and never leaves it; what travels is the request, and back the certificate.
- The master's authority comes with the certificate and is pinned: no other authority counts for the connection.
- A certificate is taken only when it is for this key, this worker and by that authority; else the old one stays.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from silvermetal_proof.ledger.store import write_durably

from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError
from silvermetal_worker.settings import WorkerDirectory

KEY, REQUEST, CERTIFICATE, AUTHORITY = "tls.key", "tls.csr", "tls.pem", "authority.pem"


def make_request(name: str) -> tuple[bytes, bytes]:
    """A new key and the request for its certificate, both PEM."""
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, request.public_bytes(Encoding.PEM)


def admit(directory: WorkerDirectory, bundle: bytes) -> x509.Certificate:
    """Take the master's answer: the certificate first, the authority last. :raises WorkerError: when it is not ours."""
    keys = directory.path / "keys"
    try:
        certificate, *_, authority = x509.load_pem_x509_certificates(bundle)
        own = load_pem_private_key((keys / KEY).read_bytes(), password=None)
        certificate.verify_directly_issued_by(authority)
    except FileNotFoundError:
        raise WorkerError(f"{keys / KEY}: expected the worker's TLS key, got no file", EXIT_HOST_NOT_READY) from None
    except (ValueError, TypeError, InvalidSignature) as error:
        what = "expected the file that `silvermetal-master enroll` or `admit` wrote"
        raise WorkerError(f"{what}, got {type(error).__name__}", EXIT_USAGE) from None
    names = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [directory.settings.name]:
        raise WorkerError(
            f"expected a certificate for worker {directory.settings.name}, got {names!r:.200}", EXIT_USAGE
        )
    if certificate.public_key() != own.public_key():
        raise WorkerError("expected a certificate for this worker's key, got one for another key", EXIT_USAGE)
    write_durably(keys / AUTHORITY, authority.public_bytes(Encoding.PEM), replace=True)
    write_durably(keys / CERTIFICATE, certificate.public_bytes(Encoding.PEM), replace=True)
    return certificate
