"""The plan of retention: for any list of files it names derived ones alone, the oldest first, and no more than needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from silvermetal_proof.retention import YOUNG_SECONDS, Kept, is_derived, plan

A, B = "a" * 32, "b" * 32
DERIVED = ("difference.json", "difference.html", "manifests/host-a.json.gz", "excerpts/host-b.json.gz", "release/x.iso")
PROOF = (
    "verdict.json", "verdict.dsse.json", "statements/host-a.json", "request.json", "pins.json", "packages.lock",
    "ledger-index", "release/SHA256SUMS", "release/verdict.dsse.json", "release/BUILD_INFO", "seal.key", "orders/h.json",
    "release/../verdict.json", "difference.json/../verdict.json", "manifests/../verdict.json", "page", "announced", "release-url",
)  # fmt: skip
PATHS = st.sampled_from(
    [f"builds/{b}/{name}" for b in (A, B) for name in DERIVED + PROOF]
    + ["ledger/checkpoint", "ledger/entries/000000000000", "by-ref/x.json", "mirror.git/HEAD", "restored.json"]
)
FILES = st.lists(
    st.builds(Kept, PATHS, st.integers(0, 10**10), st.floats(0, 1e9)), max_size=30, unique_by=lambda f: f.path
)
AGES, SIZES = st.floats(YOUNG_SECONDS, 1e9), st.integers(0, 10**11)


@given(FILES, AGES, SIZES, st.sets(st.sampled_from([A, B])))
def test_the_plan(files: list[Kept], max_age: float, max_bytes: int, unfinished: set[str]) -> None:
    gone = plan(files, max_age=max_age, max_bytes=max_bytes, unfinished=unfinished)
    named = [next(f for f in files if f.path == path) for path in gone]
    assert all(is_derived(path) for path in gone)
    assert len(set(gone)) == len(gone)
    assert not [p for p in gone if p.split("/")[1] in unfinished]
    assert not [f for f in named if f.age < YOUNG_SECONDS]
    assert [f.age for f in named] == sorted((f.age for f in named), reverse=True)
    free = [
        f for f in files if is_derived(f.path) and f.path.split("/")[1] not in unfinished and f.age >= YOUNG_SECONDS
    ]
    stays = [f for f in free if f.path not in gone]
    assert not [f for f in stays if f.age > max_age], "what is too old goes"
    held = sum(f.size for f in files if is_derived(f.path) and f.path not in gone)
    assert held <= max_bytes or not stays, "within the size, unless nothing more may go"
    # No more than needed: the youngest that went was too old, or without it the rest was over the size.
    if named and named[-1].age <= max_age:
        assert held + named[-1].size > max_bytes


@given(FILES, AGES, SIZES)
def test_a_second_plan_over_what_is_left_is_empty(files: list[Kept], max_age: float, max_bytes: int) -> None:
    gone = set(plan(files, max_age=max_age, max_bytes=max_bytes))
    assert plan([f for f in files if f.path not in gone], max_age=max_age, max_bytes=max_bytes) == ()


@pytest.mark.parametrize("name", PROOF)
def test_what_proves_never_goes(name: str) -> None:
    assert plan([Kept(f"builds/{A}/{name}", 10**12, 1e12)], max_age=0, max_bytes=0) == ()
