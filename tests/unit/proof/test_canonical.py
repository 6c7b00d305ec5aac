"""JSON in one form: what is refused, with got and expected, and that writing is canonical."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_proof import canonical
from silvermetal_proof.errors import MalformedError, ProofError, printable

LIMIT = 1 << 16


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"a":1}', "the same key twice: expected each key once, got a"),
        (b'[{"b":{"x":1,"x":2}}]', "the same key twice"),
        (b'{"a":1,"\\u0061":2}', "the same key twice"),
        (b"NaN", "is not finite: expected a finite number, got NaN"),
        (b'{"x":[Infinity]}', "is not finite"),
        (b"-Infinity", "is not finite"),
        (b"1e400", "is not finite"),
        (b"-1e999", "is not finite"),
        (b"1" * 20, "integer is too long: expected at most 19 digits"),
        (b"-" + b"9" * 5000, "integer is too long"),
        (b"\xff\xfe", "is not UTF-8: expected UTF-8, got byte 0xff"),
        (b'"\xed\xa0\x80"', "is not UTF-8"),
        (b'"\\ud800"', "holds half a character: expected paired surrogates"),
        (b'{"\\udfff":1}', "holds half a character"),
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"{}{}", "is not JSON"),
        (b"{'a':1}", "is not JSON"),
        (b'"\x01"', "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"[" * 33 + b"]" * 33, "is nested too deeply: expected at most 32 levels, got 33"),
        (b"[" * 60000, "is nested too deeply"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "is nested too deeply"),
        (b" " * (LIMIT + 1), f"is too large: expected at most {LIMIT} bytes, got {LIMIT + 1} bytes"),
    ],
)
def test_what_is_not_one_unambiguous_bounded_value_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError) as caught:
        canonical.decode(data, limit=LIMIT, what="evidence")
    assert str(caught.value).startswith("evidence")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"[" * 32 + b"]" * 32, None),
        (b'"' + b"[" * 100 + b'"', "[" * 100),
        (b'["\\"' + b"{" * 100 + b'"]', ['"' + "{" * 100]),
        (b"[" + b"[]," * 100 + b"[]]", [[]] * 101),
        (b"9999999999999999999", 9999999999999999999),
        (b' {"b" : 1.5, "a": "\xc3\xa9"} \n', {"a": "é", "b": 1.5}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_what_is_bounded_is_read(data: bytes, value: object) -> None:
    found = canonical.decode(data, limit=LIMIT)
    assert value is None or found == value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**19) + 1, 10**19 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_writing_is_ascii_canonical_and_reads_back(value: object) -> None:
    data = canonical.encode(value)
    assert data.isascii()
    assert canonical.decode(data, limit=1 << 20) == value
    assert canonical.decode(json.dumps(value, indent=1).encode(), limit=1 << 20) == value
    assert canonical.encode(canonical.decode(canonical.pretty(value), limit=1 << 20)) == data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100) | st.text(max_size=50).map(str.encode))
def test_reading_is_total(data: bytes) -> None:
    try:
        value = canonical.decode(data, limit=80)
    except MalformedError:
        return
    canonical.encode(value)
    canonical.pretty(value)


def test_key_order_does_not_count_and_infinity_is_never_written() -> None:
    assert canonical.encode({"b": 1, "a": [1, 2]}) == canonical.encode({"a": [1, 2], "b": 1}) == b'{"a":[1,2],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical.encode(float("nan"))


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202eabc", "\x9b1m", "\x00", "\u2028", "\u200f"])
def test_the_form_for_people_drives_no_terminal(text: str) -> None:
    shown = canonical.pretty({"text": text, text: 1}).decode()
    assert all(c.isprintable() or c == "\n" for c in shown), shown
    assert canonical.decode(shown.encode(), limit=1000) == {"text": text, text: 1}


def test_shown_values_are_bounded_lines_without_control_characters() -> None:
    assert printable("x" * 500) == "x" * 200 + "…"
    assert printable("a\x1b[31m\n\u202eb") == "a�[31m��b"
    assert printable(b"\x00") == "b'\\x00'"
    error = ProofError("thing", expected="é", got="\x07" * 300)
    assert str(error).startswith("thing: expected é, got ")
    assert len(error.got or "") == 201
    assert str(ProofError("alone")) == "alone"
