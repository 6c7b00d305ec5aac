"""What the page and the fields make of what a person must read."""

from __future__ import annotations

import pytest
from silvermetal_explain.image.descriptors import VOLUME, decode
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
