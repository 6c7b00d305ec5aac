"""The Merkle tree against the known vectors, proofs over every size, and checkpoints."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_proof.errors import LedgerError
from silvermetal_proof.ledger import (
    Checkpoint,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    read_checkpoint,
    root_hash,
    sign_checkpoint,
    verifier_key,
    verify_consistency,
    verify_inclusion,
)

from tests.unit.proof.makers import B, flips, key_of

# The test vectors of the Certificate Transparency project, which RFC 6962 and RFC 9162 implementations share.
CT = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in CT]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf index, tree size, path) and (first, second, path) from the same source.
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
KEY = key_of("master")
ORIGIN = "example.org/ledger"


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    assert root_hash(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_known_inclusion_proofs(index: int, size: int, path: list[str]) -> None:
    proof = inclusion_proof(index, LEAVES[:size])
    assert [p.hex() for p in proof] == path
    assert verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second", "path"), CONSISTENCY)
def test_known_consistency_proofs(first: int, second: int, path: list[str]) -> None:
    proof = consistency_proof(first, LEAVES[:second])
    assert [p.hex() for p in proof] == path
    assert verify_consistency(first, second, bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second]), proof)


def _leaves(size: int) -> list[bytes]:
    return [leaf_hash(str(i).encode()) for i in range(size)]


@settings(max_examples=80, deadline=None)
@given(size=st.integers(1, 70), data=st.data())
def test_a_proof_shows_its_leaf_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = _leaves(size)
    root = root_hash(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, leaves)
    assert verify_inclusion(leaves[index], index, size, proof, root)
    other = data.draw(st.integers(-2, size + 2).filter(lambda i: i != index))
    assert not verify_inclusion(leaves[index], other, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    assert not verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not proof or not verify_inclusion(leaves[index], index, size, proof[:-1], root)
    for position in range(len(proof)):
        changed = [*proof]
        changed[position] = leaf_hash(changed[position])
        assert not verify_inclusion(leaves[index], index, size, changed, root)


@settings(max_examples=80, deadline=None)
@given(second=st.integers(1, 70), data=st.data())
def test_a_consistency_proof_shows_a_prefix_and_nothing_else(second: int, data: st.DataObject) -> None:
    leaves = _leaves(second)
    first = data.draw(st.integers(0, second))
    old, new = root_hash(leaves[:first]), root_hash(leaves)
    proof = consistency_proof(first, leaves)
    assert verify_consistency(first, second, old, new, proof)
    assert not verify_consistency(first, second, old, new, [*proof, new])
    if first not in (0, second):
        fork = root_hash([leaf_hash(b"fork"), *leaves[1:first]])
        assert not verify_consistency(first, second, fork, new, proof)
        assert not verify_consistency(first, second, old, leaf_hash(b"x"), proof)
        assert not verify_consistency(first, second, old, new, proof[:-1])
        assert not verify_consistency(first, second, old, new, [])


@settings(max_examples=100, deadline=None)
@given(st.integers(), st.integers(), st.lists(st.binary(max_size=40), max_size=8))
def test_verification_is_total(one: int, two: int, proof: list[bytes]) -> None:
    assert verify_inclusion(b"", one, two, proof, b"r") is False
    assert verify_consistency(one, two, b"a", b"b", proof) is False


def test_proofs_of_what_is_not_there_are_errors() -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError, match="expected a leaf below 3"):
            inclusion_proof(index, _leaves(3))
    for size in (-1, 4):
        with pytest.raises(IndexError, match="expected a size up to 3"):
            consistency_proof(size, _leaves(3))


# Checkpoints

NOTE = sign_checkpoint(Checkpoint(ORIGIN, 8, bytes.fromhex(ROOTS[8])), KEY)


def test_a_checkpoint_has_the_form_of_a_signed_note() -> None:
    text, signature = NOTE.decode().split("\n\n")
    assert text.split("\n") == [ORIGIN, "8", base64.b64encode(bytes.fromhex(ROOTS[8])).decode()]
    assert signature.startswith(f"\N{EM DASH} {ORIGIN} ")
    raw = base64.b64decode(signature.split()[2])
    name, key_hash, key = verifier_key(ORIGIN, KEY.public).split("+", 2)
    assert (name, key_hash, len(raw)) == (ORIGIN, raw[:4].hex(), 68)
    assert base64.b64decode(key) == b"\x01" + bytes.fromhex(KEY.public.hex)
    assert read_checkpoint(NOTE, ORIGIN, KEY.public) == Checkpoint(ORIGIN, 8, bytes.fromhex(ROOTS[8]))


def test_every_flipped_bit_and_truncation_of_a_checkpoint_is_refused() -> None:
    for data in (*flips(NOTE, 1), *(NOTE[:end] for end in range(len(NOTE)))):
        with pytest.raises(LedgerError):
            read_checkpoint(data, ORIGIN, KEY.public)


def test_another_spelling_of_the_same_signature_is_refused() -> None:
    body, last = NOTE[:-3], NOTE[-3:]
    assert last[1:] == b"=\n"
    for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        if other != last[0]:
            with pytest.raises(LedgerError):
                read_checkpoint(body + bytes([other]) + b"=\n", ORIGIN, KEY.public)


def _signed(text: str, origin: str = ORIGIN) -> bytes:
    """A note over any text, well signed."""
    whole = sign_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)), KEY).decode().rpartition(" ")[2]
    key_hash = base64.b64decode(whole)[:4]
    signature = base64.b64encode(key_hash + KEY.sign_bytes(f"{text}\n".encode())).decode()
    return f"{text}\n\n\N{EM DASH} {origin} {signature}\n".encode()


ROOT64 = base64.b64encode(bytes(32)).decode()


def test_the_maker_of_signed_notes_makes_one_that_holds() -> None:
    assert read_checkpoint(_signed(f"{ORIGIN}\n1\n{ROOT64}"), ORIGIN, KEY.public).size == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_signed(f"{ORIGIN}\n01\n{ROOT64}"), "not a checkpoint"),
        (_signed(f"{ORIGIN}\n-1\n{ROOT64}"), "not a checkpoint"),
        (_signed(f"{ORIGIN}\n+1\n{ROOT64}"), "not a checkpoint"),
        (_signed(f"{ORIGIN}\n\u0661\n{ROOT64}"), "not a checkpoint"),
        (_signed(f"{ORIGIN}\n1\n{ROOT64}\nextension"), "not a checkpoint"),
        (_signed(f"{ORIGIN}\n1"), "not a checkpoint"),
        (_signed(f"{ORIGIN}\n1\nAAAA"), "root has another length: expected 32 bytes, got 3"),
        (_signed(f"{ORIGIN}\n1\n!"), "cannot be read"),
        (_signed(f"other\n1\n{ROOT64}"), f"checkpoint of another log: expected {ORIGIN}, got other"),
        (_signed(f"{ORIGIN}\n1\n{ROOT64}", "other"), "checkpoint of another log"),
        (_signed(f"{ORIGIN}\n1\n{ROOT64}") + NOTE.splitlines(keepends=True)[-1], "not a checkpoint"),
        (NOTE + b"\n", "not a checkpoint"),
        (b"\xff" + NOTE, "cannot be read"),
        (b"", "not a checkpoint"),
        (b"x" * 5000, "too large: expected at most 4096 bytes, got 5000"),
    ],
)
def test_another_form_of_checkpoint_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        read_checkpoint(data, ORIGIN, KEY.public)


def test_a_checkpoint_of_another_key_is_refused() -> None:
    with pytest.raises(LedgerError, match="signed by another key"):
        read_checkpoint(NOTE, ORIGIN, B.key.public)
