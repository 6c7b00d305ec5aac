"""Disks that are full or read-only, on the master's side and on a host's; files that are torn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty
from tests.support.processes import run

pytestmark = pytest.mark.system


@contextmanager
def small_disk(folder: Path, fault: str) -> Iterator[None]:
    """``folder`` is on a disk of its own that is ``full`` or ``read-only``; what was written there is kept after."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.copytree(folder, kept)
    run(["mount", "-t", "tmpfs", "-o", "size=64m", "silvermetal-fault", str(folder)])
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        if fault == "full":
            with (folder / "filler").open("wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(b"\0" * 65536)
                except OSError:
                    pass
        else:
            run(["mount", "-o", "remount,ro", str(folder)])
        yield
        if fault == "full":
            (folder / "filler").unlink()
        shutil.rmtree(kept)
        shutil.copytree(folder, kept)
    finally:
        run(["umount", "--lazy", str(folder)])
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        shutil.rmtree(kept)


@pytest.mark.parametrize("fault", ["full", pytest.param("read-only", marks=pytest.mark.bench)])
def test_disk_of_the_ledger(faults: Faulty, fault: str) -> None:
    tag = f"v4-ledger-{fault}"
    with small_disk(faults.state / "ledger", fault):
        faults.push_tag(tag)
        assert faults.ends(tag) is None, "what is not recorded is no verdict"
        faults.wait_idle()
        assert faults.builds_of("verify")[-1]["results"] != 0
    faults.running_master.stop()
    faults.restart_master()
    verdict = faults.ends(tag)
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, (
        "the decided verdict was recorded at the start"
    )
    faults.sound(next_tag=f"{tag}-next")


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_disk_of_the_records(faults: Faulty, fault: str) -> None:
    tag = f"v4-records-{fault}"
    with small_disk(faults.state / "builds", fault):
        faults.push_tag(tag)
        assert faults.ends(tag) is None
        faults.wait_idle()
        assert faults.builds_of("verify")[-1]["results"] != 0
    faults.sound(next_tag=f"{tag}-next")


@pytest.mark.parametrize("fault", [pytest.param("full", marks=pytest.mark.bench), "read-only"])
def test_disk_of_a_host(faults: Faulty, fault: str) -> None:
    tag = f"v4-host-{fault}"
    worker = faults.workers["host-b"]
    builds = worker.directory / "builds"
    worker.stop()
    with small_disk(builds, fault):
        # The worker has a mount namespace of its own, made at its start.
        faults.restart_worker("host-b")
        faults.push_tag(tag)
        verdict = faults.ends(tag)
        assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
        assert "host-b" in str(verdict.reasons)
        faults.wait_idle()
        worker.stop()
    faults.restart_worker("host-b")
    faults.sound(next_tag=f"{tag}-next")


def test_torn_order(faults: Faulty) -> None:
    faults.strike_at("v4-order", "before-Preflight")
    faults.wait_step("host-b", "preflight")
    order = next((faults.workers["host-b"].directory / "builds").glob("*/order.json"))
    order.write_bytes(order.read_bytes()[:100])
    faults.holds.clear()
    verdict = faults.ends("v4-order")
    assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
    assert "preflight" in str(verdict.reasons)
    faults.sound(next_tag="v4-order-next")


def test_torn_statement(faults: Faulty) -> None:
    faults.strike_at("v4-statement", "before-CollectStatement")
    found = faults.workers["host-b"].directory / "builds"

    faults.wait_step("host-b", "collect")
    sealed = next(found.glob("*/statement.sealed"))
    sealed.write_bytes(sealed.read_bytes()[:200])
    faults.holds.clear()
    verdict = faults.ends("v4-statement")
    assert verdict is not None and verdict.outcome is Outcome.INVALID
    faults.sound(next_tag="v4-statement-next")
