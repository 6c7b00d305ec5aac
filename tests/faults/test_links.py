"""Links that stall, crawl, break and come back; processes that stand still."""

from __future__ import annotations

import signal
import time

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty

pytestmark = pytest.mark.system


def test_partition_that_heals_before_the_deadline(faults: Faulty) -> None:
    faults.strike_at("v3-heals", "before-Build")
    faults.proxies["host-b"].silent = True
    faults.holds.clear()
    time.sleep(4)
    faults.proxies["host-b"].silent = False
    verdict = faults.ends("v3-heals")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.sound(next_tag="v3-heals-next")


def test_partition_beyond_the_deadline(faults: Faulty) -> None:
    faults.strike_at("v3-partition", "before-Build")
    faults.proxies["host-b"].silent = True
    faults.holds.clear()
    verdict = faults.ends("v3-partition")
    assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
    faults.proxies["host-b"].silent = False
    faults.proxies["host-b"].cut()
    faults.wait_connected("host-b")
    faults.sound(next_tag="v3-partition-next")


def test_slow_link(faults: Faulty) -> None:
    faults.proxies["host-b"].seconds_a_block = 0.05
    faults.push_tag("v3-slow")
    verdict = faults.ends("v3-slow")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.proxies["host-b"].seconds_a_block = 0.0
    faults.sound(next_tag="v3-slow-next")


@pytest.mark.bench
def test_worker_stands_still_beyond_the_deadline(faults: Faulty) -> None:
    faults.strike_at("v3-stopped", "before-Build")
    faults.worker_program("host-b").signal(signal.SIGSTOP)
    faults.holds.clear()
    verdict = faults.ends("v3-stopped")
    assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
    faults.worker_program("host-b").signal(signal.SIGCONT)
    faults.wait_connected("host-b")
    faults.sound(next_tag="v3-stopped-next")


def test_master_stands_still_while_hosts_build(faults: Faulty) -> None:
    faults.strike_at("v3-still", "before-Build")
    faults.holds.clear()
    faults.running_master.signal(signal.SIGSTOP)
    time.sleep(6)
    faults.running_master.signal(signal.SIGCONT)
    verdict = faults.ends("v3-still")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.sound(next_tag="v3-still-next")
