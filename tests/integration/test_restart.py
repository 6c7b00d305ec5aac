"""H7: a master that is stopped or killed in mid-build loses nothing, and each orphan is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildStore
from silvermetal_proof.verdict import Outcome

from tests.support.processes import wait_until
from tests.support.service import BIN, Service, run, service

pytestmark = pytest.mark.system
RETRY = 5


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Service]:
    """A service whose master may be killed."""
    folder: Path = tmp_path_factory.mktemp("restart")
    with service(folder, *tiny_engine, ["host-a", "host-b"]) as running:
        yield running


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_h7_a_verification_survives_the_masters_end(own: Service, how: str) -> None:
    tag = f"v1-{how}"
    once = f"before() {{ [ -f $store/{how} ] || {{ touch $store/{how}; sleep 30; }}; }}"
    for worker in own.workers.values():
        worker.behave(once)
    own.push_tag(tag)
    wait_until(
        lambda: all((w.store / how).exists() for w in own.workers.values()), "both hosts in their builds", timeout=60
    )
    assert own.master is not None
    getattr(own.master, how)()
    own.start_master()
    own.wait_connected("host-a", "host-b")
    wait_until(
        lambda: len(own.builds_of("verify")) and own.builds_of("verify")[-1]["results"] == 0,
        "the verification asked for again to pass",
        timeout=90,
    )
    own.wait_idle()
    assert own.verdict(tag).outcome is Outcome.REPRODUCED
    records = [BuildStore(own.state).record(p.name) for p in (own.state / "builds").iterdir()]
    mine = [r for r in records if r.request.ref == f"refs/tags/{tag}"]
    assert sorted(str(r.verdict.outcome) for r in mine) == ["INCOMPLETE", "REPRODUCED"]
    assert not list((own.state / "builds").glob("*/seal.key"))
    assert all(r.file("ledger-index").exists() for r in mine)
    assert sorted(b["results"] for b in own.builds_of("verify"))[-1] == RETRY


def test_a_clean_stop_waits_for_the_verdict(own: Service) -> None:
    tag = "v1-clean"
    for worker in own.workers.values():
        worker.behave("before() { touch $store/clean; sleep 5; }")
    own.push_tag(tag)
    wait_until(lambda: any((w.store / "clean").exists() for w in own.workers.values()), "a build", timeout=60)
    assert own.master is not None
    # The program is the master itself here; `stop` finds it by the folder's lock.
    said = run([f"{BIN}/silvermetal-master", "stop", "--clean", "--timeout", "120", str(own.basedir)], timeout=150)
    assert said == "stopped\n"
    wait_until(lambda: own.master is not None and not own.master.running, "the master's process to be gone", timeout=20)
    assert own.verdict(tag, timeout=1).outcome is Outcome.REPRODUCED
    assert run([f"{BIN}/silvermetal-master", "stop", str(own.basedir)]) == "no master runs there\n"
    for worker in own.workers.values():
        worker.behave("")
    own.start_master()
    own.wait_connected("host-a", "host-b")
    own.wait_idle()
    assert own.verdict(tag, timeout=1).outcome is Outcome.REPRODUCED
    mine = [
        p
        for p in (own.state / "builds").iterdir()
        if BuildStore(own.state).record(p.name).request.ref == f"refs/tags/{tag}"
    ]
    assert len(mine) == 1
