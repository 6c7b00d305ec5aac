"""kill -9 of the master, of a worker, of both, at every stage: nothing is lost, nothing is green by mistake."""

from __future__ import annotations

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty
from tests.support.processes import wait_until

pytestmark = pytest.mark.system
STEPS = {"Handover": "handover", "Build": "build", "Attest": "attest", "CollectStatement": "collect"}


@pytest.mark.parametrize(
    "place",
    [
        "before-Pin",
        pytest.param("after-Pin", marks=pytest.mark.bench),
        "before-FanOut",
        "before-Build",
        pytest.param("before-Judge", marks=pytest.mark.bench),
        "after-Judge",
        "before-append",
        "before-note",
        pytest.param("after-Record", marks=pytest.mark.bench),
    ],
)
def test_master_is_killed(faults: Faulty, place: str) -> None:
    tag = f"v1-kill-master-{place}"
    faults.strike_at(tag, place)
    faults.running_master.kill()
    faults.holds.clear()
    faults.restart_master()
    verdict = faults.ends(tag)
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, verdict
    faults.sound(next_tag=f"{tag}-next")


@pytest.mark.parametrize(
    "place",
    [
        "before-Handover",
        pytest.param("after-Handover", marks=pytest.mark.bench),
        "before-Build",
        pytest.param("before-Attest", marks=pytest.mark.bench),
        "before-CollectStatement",
    ],
)
def test_worker_is_killed(faults: Faulty, place: str) -> None:
    tag = f"v1-kill-worker-{place}"
    faults.strike_at(tag, place)
    faults.wait_step("host-b", STEPS[place.partition("-")[2]])
    faults.worker_program("host-b").kill()
    faults.holds.clear()
    faults.restart_worker("host-b")
    verdict = faults.ends(tag)
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, verdict
    faults.sound(next_tag=f"{tag}-next")


def test_worker_is_killed_while_its_build_runs(faults: Faulty) -> None:
    faults.workers["host-b"].behave("before() { [ -f $store/again ] || { touch $store/again; sleep 300; }; }")
    faults.push_tag("v1-kill-running")
    store = faults.workers["host-b"].store

    wait_until((store / "again").exists, "host-b's build")
    faults.worker_program("host-b").kill()
    faults.restart_worker("host-b")
    verdict = faults.ends("v1-kill-running")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, verdict
    faults.sound(next_tag="v1-kill-running-next")


def test_master_and_worker_are_killed_together(faults: Faulty) -> None:
    faults.strike_at("v1-kill-both", "before-Build")
    faults.running_master.kill()
    faults.worker_program("host-a").kill()
    faults.holds.clear()
    faults.workers["host-a"].start()
    faults.restart_master()
    verdict = faults.ends("v1-kill-both")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, verdict
    faults.sound(next_tag="v1-kill-both-next")
