"""A third host is asked by itself when two stand one against one, and names the odd one out; it never makes a pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.processes import free_port
from tests.support.service import Service, missing_for_service

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def with_reserve(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Service]:
    """Two hosts and a third in reserve."""
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    folder: Path = tmp_path_factory.mktemp("reserve")
    running = Service(folder, free_port(), free_port(), *tiny_engine)
    running.write_settings(["host-a", "host-b", "host-c"])
    settings = running.config / "master.toml"
    settings.write_text(settings.read_text().replace("[policy]\n", '[policy]\nreserve = ["host-c"]\n'))
    running.make_repository()
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_the_reserve_is_left_alone_while_the_others_agree(with_reserve: Service) -> None:
    with_reserve.push_tag("v1")
    verdict = with_reserve.verdict("v1")
    assert verdict.outcome is Outcome.REPRODUCED
    assert [h.host for h in verdict.hosts] == ["host-a", "host-b"]
    assert with_reserve.builds_of("iso@host-c") == []


def test_the_reserve_names_the_odd_one_out(with_reserve: Service) -> None:
    with_reserve.workers["host-a"].behave('before() { echo odd >> "$work/tree/payload"; }')
    with_reserve.push_tag("v2")
    verdict = with_reserve.verdict("v2")
    with_reserve.workers["host-a"].behave("")
    assert verdict.outcome is Outcome.DIVERGED
    assert verdict.odd_one_out == "host-a"
    assert [h.host for h in verdict.hosts] == ["host-a", "host-b", "host-c"]
    with_reserve.wait_idle()
    # The report is about the odd one out and one other; the third host is asked for nothing (ADR 0015).
    asked = {f"{kind}@{host}" for kind in ("explain", "excerpt") for host in ("host-a", "host-b", "host-c")
             if with_reserve.builds_of(f"{kind}@{host}")}  # fmt: skip
    assert asked == {"explain@host-a", "explain@host-b", "excerpt@host-a", "excerpt@host-b"}
