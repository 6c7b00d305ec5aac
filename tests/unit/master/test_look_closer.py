"""What is asked of two hosts that diverged: only what differs, and within one percent of an ISO."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from silvermetal_master.steps.look_closer import LEAST_BYTES, MAX_FILES, MOST_BYTES, budget, wanted

GB = 10**9


@given(st.integers(LEAST_BYTES * 500, 50 * GB), st.integers(0, 10**6))
def test_manifests_and_excerpts_together_are_one_percent_at_most(iso: int, moved: int) -> None:
    each = budget(iso, moved)
    assert LEAST_BYTES <= each <= MOST_BYTES
    if each > LEAST_BYTES:
        assert moved + 2 * each * 4 / 3 <= iso / 100


def test_only_files_whose_content_differs_are_wanted() -> None:
    rows = [
        {"what": "content", "layer_path": "live/x → /etc/a"},
        {"what": "mode", "layer_path": "live/x → /etc/b"},
        {"what": "content", "layer_path": 7},
        "nothing",
    ]
    asked = wanted({"differences": rows}, together=9)
    assert asked == {"differences": [{"layer_path": "live/x → /etc/a", "what": "content"}], "together": 9}
    assert wanted({"differences": rows[1:]}, together=9) is None
    assert wanted({"differences": "x"}, together=9) is None


def test_no_more_files_are_asked_for_than_the_limit() -> None:
    rows = [{"what": "content", "layer_path": f"f{i}"} for i in range(MAX_FILES * 2)]
    asked = wanted({"differences": rows}, together=9)
    assert asked is not None
    assert len(asked["differences"]) == MAX_FILES
