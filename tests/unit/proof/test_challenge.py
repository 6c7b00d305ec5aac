"""The key challenge: only the enrolled key, for this master, worker and nonce, answers it."""

from __future__ import annotations

from typing import Any

import pytest
from silvermetal_proof.errors import SignatureError
from silvermetal_proof.host.challenge import answer, check_answer, fresh_nonce
from silvermetal_proof.statement import SigningKey

KEY = SigningKey.generate()
MASTER = "urn:silvermetal:master:test"


def asked(**changes: Any) -> dict[str, Any]:
    return {"own_name": "host-a", "master": MASTER, "worker": "host-a", "nonce": b"n" * 32, **changes}


def test_the_enrolled_key_answers() -> None:
    nonce = fresh_nonce()
    said = answer(KEY, **asked(nonce=nonce))
    check_answer(KEY.public, said, master=MASTER, worker="host-a", nonce=nonce)
    assert fresh_nonce() != nonce


@pytest.mark.parametrize(
    "changes", [{"master": "urn:another"}, {"worker": "host-b"}, {"nonce": b"m" * 32}], ids=lambda c: next(iter(c))
)
def test_an_answer_counts_for_one_challenge_alone(changes: dict[str, Any]) -> None:
    said = answer(KEY, **asked())
    good = {"master": MASTER, "worker": "host-a", "nonce": b"n" * 32}
    with pytest.raises(SignatureError, match="signature does not hold"):
        check_answer(KEY.public, said, **{**good, **changes})


def test_another_key_is_refused() -> None:
    said = answer(SigningKey.generate(), **asked())
    with pytest.raises(SignatureError, match="worker host-a: signature does not hold"):
        check_answer(KEY.public, said, master=MASTER, worker="host-a", nonce=b"n" * 32)


@pytest.mark.parametrize("said", [None, "text", b"", b"s" * 63, b"s" * 65, b"s" * 64, 7, ["x"]])
def test_what_is_no_signature_is_refused(said: object) -> None:
    with pytest.raises(SignatureError, match="key challenge to worker host-a"):
        check_answer(KEY.public, said, master=MASTER, worker="host-a", nonce=b"n" * 32)


@pytest.mark.parametrize(
    "changes", [{"worker": "host-b"}, {"worker": None}, {"nonce": b"short"}, {"nonce": "n" * 32}, {"master": b"x"}]
)
def test_a_worker_signs_no_other_question(changes: dict[str, Any]) -> None:
    with pytest.raises(SignatureError, match="key challenge"):
        answer(KEY, **asked(**changes))


def test_the_signed_bytes_are_of_a_domain_of_their_own() -> None:
    said = answer(KEY, **asked())
    with pytest.raises(SignatureError):
        KEY.public.check(said, b'{"master":"' + MASTER.encode() + b'"}', "statement")
