"""What is shown of two texts."""

from __future__ import annotations

import pytest
from silvermetal_explain.tokens import changed


def test_a_difference_behind_many_equal_lines_is_shown() -> None:
    equal = "the same everywhere\n" * 50_000
    assert changed(equal + "by a\n", equal + "by b\n") == ["-by a", "+by b"]


def test_a_longer_text_shows_what_it_has_more() -> None:
    assert changed("one\n", "one\ntwo\n") == ["+two"]


@pytest.mark.parametrize("at", [0, 149, 150, 5000])
def test_two_long_lines_are_cut_to_where_they_differ(at: int) -> None:
    minus, plus = changed("=" * at + "ours" + "-" * 900 + "\n", "=" * at + "theirs" + "-" * 900 + "\n")
    assert "ours" in minus
    assert "theirs" in plus
    assert max(len(minus), len(plus)) <= 301
