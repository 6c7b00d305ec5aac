"""What the page and the fields make of what a person must read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from silvermetal_explain.cli import compared
from silvermetal_explain.image.descriptors import VOLUME, decode
from silvermetal_explain.limits import Limits
from silvermetal_explain.report import document
from silvermetal_explain.report.page import _prose


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (bytes(512), "512 zeros"),
        (b" " * 512, "512 spaces"),
        (b"ISO MD5SUM = 1".ljust(512), "'ISO MD5SUM = 1' and 498 spaces"),
        (b"\1\2" + bytes(510), "0102 and 510 zeros"),
        (b"\xff" * 512, "ff" * 512),
    ],
)
def test_a_filled_field_is_told_by_what_it_holds_and_what_fills_it(raw: bytes, says: str) -> None:
    data = bytes(883) + raw + bytes(653)
    assert {f.name: f.value for f in decode(data, VOLUME, 0)}["application use"] == says


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("use -volume_date uuid, not <this>", "use <code>-volume_date</code> uuid, not &lt;this&gt;"),
        ("`silvermetal normalise` does", "<code>silvermetal normalise</code> does"),
        ("touch --date=@$SOURCE_DATE_EPOCH first", "touch <code>--date=@$SOURCE_DATE_EPOCH</code> first"),
        ("remove *-old and /a/b-c", "remove *-old and /a/b-c"),
        ("a `<script>` is text", "a <code>&lt;script&gt;</code> is text"),
    ],
)
def test_what_is_typed_is_set_apart_and_all_is_escaped(text: str, html: str) -> None:
    assert _prose(text) == html


def documented(title: str) -> tuple[set[str], set[str]]:
    """The keys that the page's table of that title names: those that are always there, and those that may be."""
    text = (Path(__file__).parents[3] / "docs/explaining.md").read_text(encoding="utf-8")
    table = text[text.index(f"| {title} | holds |") :].split("\n\n")[0].splitlines()[2:]
    cells = [line.split("|")[1] for line in table]
    always, maybe = set(), set()
    for key, mark in re.findall(r"`(\w+)`(\?)?", " ".join(cells)):
        (maybe if mark else always).add(key)
    return always, maybe


def test_the_json_report_holds_the_documented_keys_and_no_other(pair: tuple[Path, Path]) -> None:
    report = json.loads(document.text(compared(*pair, Limits(memory=4 << 30))))
    always, maybe = documented("key")
    assert (set(report), maybe) == (always, set())
    assert report["version"] == 1
    assert set(report["follows"]) == {"count", "examples"}
    always, maybe = documented("key of a difference")
    seen = set().union(*map(set, report["differences"]))
    assert always <= seen <= always | maybe
    assert all(always <= set(d) for d in report["differences"])
    assert {"offset", "evidence", "shape"} <= seen
    always, maybe = documented("key of a task")
    assert all(set(task) == always for task in report["todo"])
    assert {d["kind"] for d in report["differences"]} <= set(re.findall(r"`(\w+)`", documented_kinds()))


def documented_kinds() -> str:
    """The row of the kinds."""
    text = (Path(__file__).parents[3] / "docs/explaining.md").read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith("| `kind` |"))
