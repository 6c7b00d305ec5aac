"""What is asked of two hosts that diverged: only what differs, and within one percent of an ISO."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from silvermetal_master.steps.look_closer import FLOOR_BYTES, LEAST_BYTES, MAX_FILES, MOST_BYTES, bound, budget, wanted

GB = 10**9


@given(st.integers(0, 50 * GB), st.integers(0, 20 * 10**6))
def test_manifests_and_excerpts_together_stay_within_the_bound_for_every_size(iso: int, moved: int) -> None:
    each = budget(iso, moved)
    assert each == 0 or LEAST_BYTES <= each <= MOST_BYTES
    if each:
        assert moved + 2 * each * 4 / 3 <= bound(iso)


def test_the_bound_is_one_percent_and_a_stated_floor_for_small_images() -> None:
    assert bound(GB) == GB // 100
    assert bound(100 * FLOOR_BYTES + 100) == FLOOR_BYTES + 1
    assert bound(200_000) == FLOOR_BYTES
    assert budget(200_000, FLOOR_BYTES) == 0, "what the manifests took is not spent again"


def test_only_files_whose_content_differs_are_wanted() -> None:
    rows = [
        {"what": "content", "layer_path": "live/x → /etc/a", "differs_from": 65536, "a": "one"},
        {"what": "content", "layer_path": "live/x → /etc/c", "differs_from": "far"},
        {"what": "mode", "layer_path": "live/x → /etc/b"},
        {"what": "content", "layer_path": 7},
        "nothing",
    ]
    asked = wanted({"differences": rows}, together=9)
    a = {"layer_path": "live/x → /etc/a", "what": "content", "differs_from": 65536}
    assert asked == {"differences": [a, {"layer_path": "live/x → /etc/c", "what": "content"}], "together": 9}
    assert wanted({"differences": rows[2:]}, together=9) is None
    assert wanted({"differences": "x"}, together=9) is None


def test_no_more_files_are_asked_for_than_the_limit() -> None:
    rows = [{"what": "content", "layer_path": f"f{i}"} for i in range(MAX_FILES * 2)]
    asked = wanted({"differences": rows}, together=9)
    assert asked is not None
    assert len(asked["differences"]) == MAX_FILES
