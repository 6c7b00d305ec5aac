"""What is shown of two texts."""

from __future__ import annotations

from silvermetal_explain.tokens import changed


def test_a_difference_behind_many_equal_lines_is_shown() -> None:
    equal = "the same everywhere\n" * 50_000
    assert changed(equal + "by a\n", equal + "by b\n") == ["-by a", "+by b"]


def test_a_longer_text_shows_what_it_has_more() -> None:
    assert changed("one\n", "one\ntwo\n") == ["+two"]
