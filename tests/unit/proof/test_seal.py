"""Sealing: opens for the master, this build and this host, and for nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_proof.errors import SealError
from silvermetal_proof.seal import SealingKey, open_sealed, seal
from silvermetal_proof.seal.hpke import FORMAT, MAX_SEALED_BYTES

from tests.unit.proof.makers import BUILD, flips

KEY = SealingKey.from_hex("11" * 32)
SECRET = b'{"payload":"..."}' * 10
SEALED = seal(SECRET, public_hex=KEY.public_hex, build=BUILD, host="host-a")


def test_it_opens_for_its_build_and_host() -> None:
    assert open_sealed(SEALED, key=KEY, build=BUILD, host="host-a") == SECRET
    assert SEALED.isascii()
    assert SEALED.endswith(b"\n")
    assert SEALED.count(b"\n") == 1
    assert base64.b64encode(SECRET)[:20] not in SEALED


def test_two_sealings_of_one_text_differ() -> None:
    assert seal(SECRET, public_hex=KEY.public_hex, build=BUILD, host="host-a") != SEALED


@pytest.mark.parametrize(
    ("key", "build", "host"),
    [
        (SealingKey.generate(), BUILD, "host-a"),
        (KEY, "0" * 32, "host-a"),
        (KEY, BUILD, "host-b"),
        (KEY, BUILD, 'host-a","x":"'),
    ],
)
def test_another_key_build_or_host_does_not_open(key: SealingKey, build: str, host: str) -> None:
    with pytest.raises(SealError, match="does not open: expected one sealed for build") as caught:
        open_sealed(SEALED, key=key, build=build, host=host)
    assert key.to_hex() not in str(caught.value)


def test_every_truncation_and_flipped_bit_is_refused() -> None:
    for end in range(len(SEALED)):
        with pytest.raises(SealError):
            open_sealed(SEALED[:end], key=KEY, build=BUILD, host="host-a")
    for data in flips(SEALED, 5):
        with pytest.raises(SealError):
            open_sealed(data, key=KEY, build=BUILD, host="host-a")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a sealed statement: expected a line that starts with silvermetal-sealed-v1"),
        (b"silvermetal-sealed-v2 AAAA\n", "not a sealed statement"),
        (f"{FORMAT} \n".encode(), "does not open"),
        (f"{FORMAT} AAAA\n".encode(), "does not open"),
        (f"{FORMAT} A\n".encode(), "is not base64"),
        (f"{FORMAT} AA AA\n".encode(), "is not base64"),
        (SEALED + SEALED, "is not base64"),
        (b"x" * (MAX_SEALED_BYTES + 1), f"too large: expected at most {MAX_SEALED_BYTES} bytes"),
    ],
)
def test_another_form_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SealError, match=message):
        open_sealed(data, key=KEY, build=BUILD, host="host-a")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_opening_is_total(data: bytes) -> None:
    for sent in (data, f"{FORMAT} {base64.b64encode(data).decode()}\n".encode()):
        with pytest.raises(SealError):
            open_sealed(sent, key=KEY, build=BUILD, host="host-a")


@pytest.mark.parametrize("public", ["", "00" * 32, "zz" * 32, "11" * 31, "é"])
def test_what_is_no_public_key_cannot_be_sealed_for(public: str) -> None:
    with pytest.raises(SealError, match="not an X25519 public key"):
        seal(SECRET, public_hex=public, build=BUILD, host="host-a")


def test_keys_go_round_and_are_not_shown() -> None:
    assert SealingKey.from_hex(KEY.to_hex() + "\n").public_hex == KEY.public_hex
    assert KEY.to_hex() not in repr(KEY)
    for text in ("", "11" * 31, "x" * 64):
        with pytest.raises(SealError, match="sealing key cannot be read") as caught:
            SealingKey.from_hex(text)
        assert not text or text not in str(caught.value)
