"""Strict records: unknown keys, converted values, odd times and names are refused, with the path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import Field
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.model import Commit, Hex64, Line, Name, Record, Sha256, Time, format_time, parse_time
from silvermetal_proof.order import Order
from silvermetal_proof.statement.schema import BuildId, FileName, Ref, Statement

from tests.unit.proof.makers import A


class Inner(Record):
    number: int = 1
    flag: bool = False


class Sample(Record):
    hex: Hex64 | None = None
    digest: Sha256 | None = None
    commit: Commit | None = None
    name: Name | None = None
    line: Line | None = None
    time: Time | None = None
    file: FileName | None = None
    build: BuildId | None = None
    ref: Ref | None = None
    inner: Inner | None = None
    many: tuple[int, ...] = ()
    alias: str | None = Field(None, alias="theAlias")


@pytest.mark.parametrize(
    ("plain", "path"),
    [
        ({"unknown": 1}, "unknown"),
        ({"inner": {"number": "1"}}, "inner.number"),
        ({"inner": {"number": 1.0}}, "inner.number"),
        ({"inner": {"number": True}}, "inner.number"),
        ({"inner": {"flag": 1}}, "inner.flag"),
        ({"inner": {"flag": "true"}}, "inner.flag"),
        ({"inner": [], "many": [1]}, "inner"),
        ({"many": [1, "2"]}, "many.1"),
        ({"many": 1}, "many"),
        ([], "(top)"),
        (None, "(top)"),
        ("text", "(top)"),
    ],
)
def test_another_shape_is_refused_with_its_path(plain: object, path: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Sample.from_plain(plain, what="sample")
    assert str(caught.value).startswith(f"sample: {path}: expected ")


H, D = "a" * 64, "sha256:" + "a" * 64
TEXTS = {
    "hex": ([H], [H[1:], H + "a", H.upper(), H + "\n", "\u0663" * 64, ""]),
    "digest": ([D], [H, D.upper(), D + "\n", "sha512:" + "a" * 64]),
    "commit": (["a" * 40], ["a" * 39, "a" * 64, "A" * 40, "main", "a" * 40 + "\n"]),
    "name": (["a", "host-1", "a.b_c"], ["", "A", "-a", "a-", "..", "a/b", "a b", "a\n", "x" * 65, "é"]),
    "line": (["", "text é", "x" * 1024], ["a\nb", "a\x00", "\x1b[1m", "a\x7f", "x" * 1025]),
    "time": (
        ["2026-03-01T12:00:00Z", "0001-01-01T00:00:00Z", "2024-02-29T00:00:00Z"],
        [
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00:00+00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:00:61Z",
            "2026-03-01T12:00:00Z\n",
            "0000-01-01T00:00:00Z",
            # Times are compared as texts: other digits than 0-9 would sort wrongly.
            "\u0662\u0660\u0662\u0666-03-01T12:00:00Z",
            "2026-03-01T12:00:0\u0665Z",
            "",
        ],
    ),
    "file": (["a.iso", "A_b-1.2+x~"[:-1]], ["", ".a", "a/b", "..", "a b", "x" * 128, "a\n", "-a"]),
    "build": (["a" * 32], ["a" * 31, "A" * 32, "../" + "a" * 29]),
    "ref": (
        ["refs/tags/v1", "refs/heads/main", "refs/tags/a/b+c"],
        ["v1", "refs/tags/", "refs/notes/x", "refs/tags/-x", "refs/tags/a b", "refs/tags/v1\n", "refs/tags/*"],
    ),
}


@pytest.mark.parametrize(("key", "text"), [(k, t) for k, (good, _) in TEXTS.items() for t in good])
def test_texts_of_the_right_form_are_taken_as_they_are(key: str, text: str) -> None:
    assert getattr(Sample.from_plain({key: text}, what="sample"), key) == text


@pytest.mark.parametrize(("key", "text"), [(k, t) for k, (_, bad) in TEXTS.items() for t in bad])
def test_texts_of_another_form_are_refused(key: str, text: str) -> None:
    with pytest.raises(MalformedError, match=rf"^sample: {key}: expected "):
        Sample.from_plain({key: text}, what="sample")


def test_values_that_are_no_plain_data_are_refused() -> None:
    for value in ({"many": {1, 2}}, {"line": b"x"}, {"line": float("inf")}):
        with pytest.raises(MalformedError, match="cannot be read: expected plain data"):
            Sample.from_plain(value, what="sample")


def test_a_record_goes_round_by_its_aliases_without_nones() -> None:
    sample = Sample(alias="x", many=(1, 2), inner=Inner(number=3))
    assert sample.plain() == {"theAlias": "x", "many": [1, 2], "inner": {"number": 3, "flag": False}}
    assert Sample.parse(sample.encode(), limit=1000, what="sample") == sample
    assert Statement.read(A.payload).encode() == A.payload


def test_an_order_is_bounded_and_strict() -> None:
    with pytest.raises(MalformedError, match="order is too large: expected at most 1048576 bytes"):
        Order.read(b" " * (2**20 + 1))
    with pytest.raises(MalformedError, match="order: "):
        Order.read(b"{}")


def test_times_are_utc_to_the_second() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-03-01T10:00:00Z"
    assert parse_time("2026-03-01T10:00:00Z") == datetime(2026, 3, 1, 10, tzinfo=UTC)
    with pytest.raises(ValueError, match="not a UTC time like"):
        parse_time("today")
