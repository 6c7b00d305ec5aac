"""The text of the metrics is read by Prometheus' own parser; series are bounded; health is judged by a table."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from silvermetal_master.monitoring.exposition import MAX_SERIES, OTHER, Family, text_of
from silvermetal_master.monitoring.health import MIN_FREE_BYTES, Seen, judge

LABEL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=20)


@given(st.dictionaries(LABEL, st.floats(0, 1e12), max_size=20), st.lists(st.floats(0, 1e6), max_size=30))
def test_prometheus_reads_back_what_was_counted(counted: dict[str, float], observed: list[float]) -> None:
    counter = Family("c_total", "counter", 'what\nis "counted" \\')
    for label, amount in counted.items():
        counter.add(amount, label=label)
    histogram = Family("h", "histogram", "durations", buckets=(1, 10, 100))
    for seconds in observed:
        histogram.observe(seconds, stage="s")
    read = {f.name: f for f in text_string_to_metric_families(text_of([counter, histogram]))}
    assert {s.labels["label"]: s.value for s in read["c"].samples} == counted
    if observed:
        found = {(s.name, s.labels.get("le")): s.value for s in read["h"].samples}
        for end in (1, 10, 100):
            assert found["h_bucket", str(end)] == sum(1 for o in observed if o <= end)
        assert found["h_bucket", "+Inf"] == found["h_count", None] == len(observed)
        assert math.isclose(found["h_sum", None], sum(observed), abs_tol=1e-6)


def test_series_are_bounded_and_unknown_values_are_other() -> None:
    known = Family("k_total", "counter", "k", {"kind": frozenset({"iso"})})
    known.add(kind="iso")
    known.add(kind="what a stranger wrote")
    assert set(known.values) == {(("kind", "iso"),), (("kind", OTHER),)}
    free = Family("f_total", "counter", "f")
    for number in range(3 * MAX_SERIES):
        free.add(x=str(number))
    assert len(free.values) <= MAX_SERIES + 1
    assert sum(free.values.values()) == 3 * MAX_SERIES


GOOD = {"database": True, "stopping": False, "disk_free": MIN_FREE_BYTES, "ledger_holds": True, "connected": 2,
        "quorum": 2, "ends": {"port": 300}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem", "warning"),
    [
        ({}, None, None),
        ({"database": False}, "database", None),
        ({"stopping": True}, "stopping", None),
        ({"disk_free": MIN_FREE_BYTES - 1}, "disk", None),
        ({"ledger_holds": False}, "ledger", None),
        ({"connected": 1}, None, "hosts"),
        ({"ends": {"host-a": 20}}, None, "certificate of host-a"),
    ],
)
def test_health(change: dict[str, object], problem: str | None, warning: str | None) -> None:
    health = judge(Seen(**{**GOOD, **change}))  # type: ignore[arg-type]
    assert health.ok == (problem is None)
    assert [problem in p for p in health.problems] == ([True] if problem else [])  # type: ignore[operator]
    assert [warning in w for w in health.warnings] == ([True] if warning else [])  # type: ignore[operator]
