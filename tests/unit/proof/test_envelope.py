"""DSSE envelopes: what verifies, what is refused, and that other people's tools read ours."""

from __future__ import annotations

import base64
import json

import pytest
from securesystemslib import dsse as other_tool
from securesystemslib.exceptions import VerificationError
from silvermetal_proof.errors import MalformedError, ProofError, SignatureError
from silvermetal_proof.statement import PublicKey, SigningKey, sign, verify
from silvermetal_proof.statement.dsse import MAX_ENVELOPE_BYTES
from silvermetal_proof.verdict import Outcome, decide, sign_verdict

from tests.unit.proof.makers import A, B, flips, hex64, key_of
from tests.unit.proof.test_verdict import VERDICTS

KEY = key_of("signer")
PAYLOAD = b'{"a":1}'
ENVELOPE = sign(PAYLOAD, KEY)


def test_what_was_signed_comes_back() -> None:
    assert verify(ENVELOPE, KEY.public) == PAYLOAD
    assert verify(ENVELOPE + b"\n", KEY.public) == PAYLOAD
    assert verify(sign(b"", KEY), KEY.public) == b""


def test_signing_is_deterministic() -> None:
    assert sign(PAYLOAD, KEY) == ENVELOPE


@pytest.mark.parametrize("data", list(flips(ENVELOPE, 7)) + list(flips(ENVELOPE, 8)))
def test_one_flipped_bit_anywhere_is_refused(data: bytes) -> None:
    with pytest.raises(ProofError):
        verify(data, KEY.public)


def test_every_truncation_is_refused() -> None:
    for end in range(len(ENVELOPE)):
        with pytest.raises(ProofError):
            verify(ENVELOPE[:end], KEY.public)


def _re(**changes: object) -> bytes:
    plain = json.loads(ENVELOPE)
    plain.update(changes)
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


SIGNATURE = json.loads(ENVELOPE)["signatures"][0]
PAYLOAD64 = json.loads(ENVELOPE)["payload"]


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (json.dumps(json.loads(ENVELOPE), indent=1).encode(), MalformedError, "is re-encoded"),
        (b" " + ENVELOPE, MalformedError, "is re-encoded"),
        (ENVELOPE + b" ", MalformedError, "is re-encoded"),
        (ENVELOPE.replace(b"payloadType", b"payload\\u0054ype"), MalformedError, "is re-encoded"),
        (_re(payload=PAYLOAD64.rstrip("=")), MalformedError, "payload is not base64"),
        (_re(payload=PAYLOAD64[:-3] + "R=="), MalformedError, "payload is base64 in another form"),
        (_re(payload=PAYLOAD64 + "\n"), MalformedError, "payload is not base64|in another form"),
        (_re(payload="é"), MalformedError, "payload is not base64"),
        (_re(payload=1), MalformedError, "payload: expected Input should be a valid string"),
        (_re(signatures=[]), MalformedError, "signatures: expected Tuple should have at least 1 item"),
        (_re(signatures=[SIGNATURE, SIGNATURE]), MalformedError, "signatures: expected Tuple should have at most 1"),
        (_re(signatures=[{**SIGNATURE, "cert": "x"}]), MalformedError, "signatures.0.cert"),
        (_re(signatures=[{**SIGNATURE, "keyid": ""}]), MalformedError, "signatures.0.keyid"),
        (_re(signatures=[{**SIGNATURE, "keyid": B.key.public.keyid}]), SignatureError, "signed by another key"),
        (_re(signatures=[{**SIGNATURE, "sig": "AAAA"}]), SignatureError, "expected 64 bytes, got 3 bytes"),
        (_re(signatures=[{**SIGNATURE, "sig": ""}]), SignatureError, "expected 64 bytes, got 0 bytes"),
        (
            _re(signatures=[{**SIGNATURE, "sig": base64.b64encode(bytes(64)).decode()}]),
            SignatureError,
            "signature does not hold",
        ),
        (_re(payload=base64.b64encode(b'{"a":2}').decode()), SignatureError, "signature does not hold"),
        (_re(payloadType="application/json"), SignatureError, "has another payload type"),
        (_re(extra=1), MalformedError, "extra: expected Extra inputs are not permitted"),
        (b"x" * (MAX_ENVELOPE_BYTES + 1), MalformedError, "is too large"),
        (b"\xff", MalformedError, "is not UTF-8"),
        (b"", MalformedError, "is not JSON"),
    ],
)
def test_another_form_is_refused(data: bytes, kind: type[ProofError], message: str) -> None:
    with pytest.raises(kind, match=message):
        verify(data, KEY.public, what="statement")


def test_the_payload_type_is_part_of_what_is_signed() -> None:
    other = sign(PAYLOAD, KEY, "application/other")
    assert verify(other, KEY.public, "application/other") == PAYLOAD
    with pytest.raises(SignatureError, match=r"expected application/vnd.in-toto\+json, got application/other"):
        verify(other, KEY.public)
    relabelled = other.replace(b"application/other", b"application/vnd.in-toto+json")
    with pytest.raises(SignatureError, match="signature does not hold"):
        verify(relabelled, KEY.public)


def test_another_key_does_not_verify_even_with_its_key_id() -> None:
    with pytest.raises(SignatureError, match="signed by another key"):
        verify(ENVELOPE, B.key.public)
    claimed = ENVELOPE.replace(KEY.public.keyid.encode(), B.key.public.keyid.encode())
    with pytest.raises(SignatureError, match="signature does not hold"):
        verify(claimed, B.key.public)


@pytest.fixture(params=["statement", *Outcome])
def ours(request: pytest.FixtureRequest) -> tuple[bytes, SigningKey]:
    """A statement, or a verdict of each outcome, as it travels, with the key that signed it."""
    if request.param == "statement":
        return A.envelope, A.key
    verdict = decide(VERDICTS[request.param])
    assert verdict.outcome is request.param
    return sign_verdict(verdict, KEY, "urn:silvermetal:master:test"), KEY


def test_securesystemslib_verifies_what_we_sign(ours: tuple[bytes, SigningKey]) -> None:
    data, key = ours
    envelope = other_tool.Envelope.from_dict(json.loads(data))
    assert envelope.payload_type == "application/vnd.in-toto+json"
    accepted = envelope.verify([key.public.sslib], 1)
    assert list(accepted) == [key.public.keyid]
    with pytest.raises(VerificationError):
        envelope.verify([B.key.public.sslib], 1)


def test_securesystemslib_refuses_what_was_altered(ours: tuple[bytes, SigningKey]) -> None:
    """Its view of a bit flipped in the payload is ours: refused."""
    data, key = ours
    payload = base64.b64decode(json.loads(data)["payload"])
    for changed in flips(payload, 8 * len(payload) // 20 + 1):
        altered = {**json.loads(data), "payload": base64.b64encode(changed).decode()}
        envelope = other_tool.Envelope.from_dict(altered)
        with pytest.raises(VerificationError):
            envelope.verify([key.public.sslib], 1)


def test_in_totos_parser_reads_what_we_sign(ours: tuple[bytes, SigningKey]) -> None:
    statement_type = pytest.importorskip("in_toto_attestation.v1.statement", reason="in-toto-attestation is missing")
    from google.protobuf.json_format import Parse
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    data, key = ours
    message = Parse(verify(data, key.public), Message())
    parsed = statement_type.Statement.copy_from_pb(message)
    parsed.validate()
    assert parsed.pb.type == "https://in-toto.io/Statement/v1"
    assert parsed.pb.predicate_type in (
        "https://slsa.dev/provenance/v1",
        "https://slsa.dev/verification_summary/v1",
    )
    assert all(set(subject.digest) <= {"sha256", "gitCommit"} and subject.digest for subject in parsed.pb.subject)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_in_totos_parser_reads_our_verdict_of_each_outcome(outcome: Outcome) -> None:
    """By SLSA's own message: what a tool that knows only the standard takes from a verdict is right."""
    vsa = pytest.importorskip("in_toto_attestation.predicates.vsa.v1.vsa_pb2", reason="in-toto-attestation is missing")
    from google.protobuf.json_format import ParseDict

    verdict = decide(VERDICTS[outcome])
    payload = json.loads(verify(sign_verdict(verdict, KEY, "urn:silvermetal:master:test"), KEY.public))
    predicate = payload["predicate"]
    # An array in SLSA's text; the package's message has one string in its place, so it is looked at by itself.
    levels = predicate.pop("verifiedLevels")
    assert levels == [f"SILVERMETAL_{outcome}", f"SILVERMETAL_I{verdict.level}"]
    message = ParseDict(predicate, vsa.VerificationSummary(), ignore_unknown_fields=True)
    assert message.verification_result == ("PASSED" if outcome is Outcome.REPRODUCED else "FAILED")
    assert message.verifier.id == "urn:silvermetal:master:test"
    assert message.resource_uri == f"{verdict.repository}@{verdict.ref}"
    assert message.slsa_version == "1.0"
    assert message.time_verified.ToJsonString() == verdict.decided
    named = {a.uri.rpartition(":")[2]: f"sha256:{a.digest['sha256']}" for a in message.input_attestations}
    assert named == {h.host: h.statement for h in verdict.hosts if h.statement is not None}
    unknown = set(predicate) - {_camel(field.name) for field in vsa.VerificationSummary.DESCRIPTOR.fields}
    assert unknown == {"silvermetal_verdict"}, "extension fields carry our prefix"


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def test_in_totos_parser_reads_our_provenance() -> None:
    provenance = pytest.importorskip(
        "in_toto_attestation.predicates.provenance.v1.provenance_pb2", reason="in-toto-attestation is missing"
    )
    from google.protobuf.json_format import ParseDict

    predicate = json.loads(A.payload)["predicate"]
    message = ParseDict(predicate, provenance.Provenance(), ignore_unknown_fields=True)
    assert message.build_definition.build_type == "urn:silvermetal:iso-build:v1"
    assert message.run_details.builder.id == "urn:silvermetal:worker:worker-host-a"
    ours = {key for key in predicate if key not in ("buildDefinition", "runDetails")}
    assert all(key.startswith("silvermetal_") for key in ours), "extension fields carry our prefix"


# RFC 8032 section 7.1, test 3: our keys and signatures are plain Ed25519.
SEED = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
SIGNED = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_rfc8032_vector() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED)))
    assert key.public.hex == PUBLIC
    assert key.sign_bytes(b"\xaf\x82").hex() == SIGNED
    key.public.check(bytes.fromhex(SIGNED), b"\xaf\x82", "vector")


@pytest.mark.parametrize("signature", [b"", b"x", bytes(63), bytes(64), bytes(65)])
def test_a_bare_signature_of_any_length_is_refused_with_our_error(signature: bytes) -> None:
    with pytest.raises(SignatureError, match="entry: signature does not hold"):
        KEY.public.check(signature, b"message", "entry")


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "0" * 63, "0" * 66, "é" * 64])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(SignatureError, match="not an Ed25519 public key: expected 64 hex digits"):
        PublicKey(text)


def test_a_public_key_has_one_spelling() -> None:
    assert PublicKey(KEY.public.hex) == KEY.public
    for other in (KEY.public.hex.upper(), f" {KEY.public.hex}", " ".join(KEY.public.hex)):
        with pytest.raises(SignatureError, match="not an Ed25519 public key"):
            PublicKey(other)


def test_private_keys_go_round_and_others_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = SigningKey.generate()
    assert SigningKey.from_pem(key.pem).public == key.public
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(SignatureError, match="of another kind: expected Ed25519, got X25519PrivateKey"):
        SigningKey.from_pem(other)
    for data in (b"", b"text", key.pem[:-40], hex64(1).encode()):
        with pytest.raises(SignatureError, match="cannot be read: expected PKCS#8 PEM"):
            SigningKey.from_pem(data)
    assert key.pem.decode() not in repr(key)
