"""A worker that dies, hangs, never comes, or answers twice: never green, and every buildset ends."""

from __future__ import annotations

import signal
import time

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.processes import wait_until
from tests.support.service import Service

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quiet")]


def _building(running: Service, host: str) -> bool:
    """Whether the host is in its build step now."""
    builds = [b for b in running.builds_of(f"iso@{host}") if not b["complete"]]
    if not builds:
        return False
    steps = running.api(f"builds/{builds[-1]['buildid']}/steps")["steps"]
    return any(s["name"] == "build" and s["started_at"] and not s["complete"] for s in steps)


def test_a_worker_that_never_comes_is_incomplete_at_the_deadline(short_deadline: Service) -> None:
    """H6: a pending request waits for ever; ours does not."""
    short_deadline.workers["host-b"].stop()
    try:
        began = time.monotonic()
        short_deadline.push_tag("v2-away")
        verdict = short_deadline.verdict("v2-away")
        took = time.monotonic() - began
        assert verdict.outcome is Outcome.INCOMPLETE
        assert "host-b: never began" in str(verdict.reasons)
        assert verdict.ours
        assert took < 40
        short_deadline.wait_idle()
        assert short_deadline.builds_of("verify")[-1]["results"] == 2
    finally:
        short_deadline.workers["host-b"].start()
        short_deadline.wait_connected("host-b")


def test_a_worker_that_hangs_is_incomplete_and_loses_its_connection(short_deadline: Service) -> None:
    worker = short_deadline.workers["host-b"]
    worker.behave("before() { sleep 300; }")
    short_deadline.push_tag("v2-hangs")
    wait_until(lambda: _building(short_deadline, "host-b"), "host-b in its build step")
    assert worker.program is not None
    worker.program.signal(signal.SIGSTOP)
    try:
        verdict = short_deadline.verdict("v2-hangs")
        assert verdict.outcome is Outcome.INCOMPLETE
        assert "host-b" in str(verdict.reasons)
        short_deadline.wait_idle()
    finally:
        worker.behave("")
        worker.stop()
        worker.start()
        short_deadline.wait_connected("host-b")


def test_a_build_that_never_ends_is_stopped_at_its_own_timeout(short_deadline: Service) -> None:
    short_deadline.workers["host-a"].behave("before() { sleep 300; }")
    short_deadline.push_tag("v2-slow")
    verdict = short_deadline.verdict("v2-slow")
    assert verdict.outcome is Outcome.INCOMPLETE
    assert "host-a" in str(verdict.reasons)
    short_deadline.wait_idle()


def test_a_worker_that_dies_and_comes_back_builds_again_and_counts_once(short_deadline: Service) -> None:
    worker = short_deadline.workers["host-b"]
    worker.behave("before() { [ -f $store/again ] || { touch $store/again; sleep 300; }; }")
    short_deadline.push_tag("v2-dies")
    # A step that began says not yet that its command runs: killed before the mark, the second build would sleep too.
    wait_until((worker.store / "again").exists, "host-b's build")
    assert worker.program is not None
    worker.program.kill()
    worker.start()
    short_deadline.wait_connected("host-b")
    verdict = short_deadline.verdict("v2-dies")
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    assert len(verdict.hosts) == 2
    short_deadline.wait_idle()


def test_service_reproduces_after_all_of_it(short_deadline: Service) -> None:
    short_deadline.push_tag("v2-after")
    assert short_deadline.verdict("v2-after").outcome is Outcome.REPRODUCED
