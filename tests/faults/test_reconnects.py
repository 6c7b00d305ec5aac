"""Hosts that come and go: a storm of reconnects, a certificate that expired meanwhile, what a killed build left."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from silvermetal_master import authority
from silvermetal_proof.verdict import Outcome
from silvermetal_worker.certificate import admit
from silvermetal_worker.settings import WorkerDirectory

from tests.support.engine import Engine
from tests.support.faulty import Faulty
from tests.support.processes import wait_until

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("drops", "seconds"), [(5, 1.0), pytest.param(20, 3.0, marks=pytest.mark.bench)], ids=["5_in_5_s", "20_in_a_minute"]
)
def test_reconnect_storm(faults: Faulty, drops: int, seconds: float) -> None:
    """Every link is cut again and again while a tag builds: it ends by the rules, and what follows is sound."""
    tag = f"v7-storm-{drops}"
    faults.strike_at(tag, "before-Build")
    faults.holds.clear()
    for _ in range(drops):
        for proxy in faults.proxies.values():
            proxy.cut()
        time.sleep(seconds)
    verdict = faults.ends(tag)
    assert verdict is not None
    # A host whose build was cut off builds again; how often it came so far before the deadline is the storm's affair.
    assert verdict.outcome in (Outcome.REPRODUCED, Outcome.INCOMPLETE), verdict
    faults.wait_connected(*faults.workers)
    assert all(len(faults.connections_of(host)) == 1 for host in faults.workers), "one connection a host is left"
    faults.sound(next_tag=f"{tag}-next")


def test_certificate_expired_meanwhile(faults: Faulty) -> None:
    """It counts at the next connect; a new one is taken without a restart of anything."""
    admitted, worker = authority.worker_file(faults.config, "host-b"), faults.workers["host-b"]
    before, request = admitted.read_bytes(), (worker.directory / "keys" / "tls.csr").read_bytes()
    month_ago = datetime.now(UTC) - timedelta(days=30)
    try:
        bundle = authority.admit(faults.config, "host-b", request, month_ago, days=7)
        admit(WorkerDirectory(worker.directory), bundle.read_bytes())
        log = faults.running_master.log
        size = log.stat().st_size
        faults.proxies["host-b"].cut()
        wait_until(lambda: b"is refused: TLS" in log.read_bytes()[size:], "the refusal", timeout=60)
        assert not faults.connections_of("host-b")
    finally:
        admitted.write_bytes(before)
        admit(WorkerDirectory(worker.directory), before)
    faults.wait_connected("host-b")
    faults.sound(next_tag="v7-expired-next")


def _create(engine: Engine, image: str, folder: Path, *options: str) -> str:
    mount = f"type=bind,source={folder},target=/silvermetal/in"
    done = engine.docker("create", *options, "--mount", mount, image, "/nothing")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_a_killed_build_left_is_gone_when_its_worker_is_back(faults: Faulty, tmp_path: Path) -> None:
    """Its container and its folder; never another's container on the same engine."""
    worker, engine = faults.workers["host-b"], Engine(faults.engine)
    work = worker.directory / "builds" / "iso-host-b" / "output.aB3xY9"
    (work / "in").mkdir(parents=True)
    label = ("--label", "silvermetal.build=0123456789abcdef")
    left = _create(engine, faults.image, work / "in", *label)
    others = {_create(engine, faults.image, tmp_path, *label), _create(engine, faults.image, work / "in")}
    faults.worker_program("host-b").kill()
    try:
        faults.restart_worker("host-b")
        assert others <= set(engine.containers())
        assert left not in engine.containers()
        assert not work.exists()
        assert f"removed what a killed build left: container {left[:12]}" in faults.worker_program("host-b").tail(
            10_000
        )
    finally:
        engine.docker("rm", "--force", left, *others)
    faults.sound(next_tag="v7-leftovers-next")


def test_settings_are_read_anew_while_hosts_build(faults: Faulty) -> None:
    """SIGHUP in mid-build, with settings that hold and with some that do not: the build goes on, by the old ones."""
    settings = faults.config / "master.toml"
    before = settings.read_text()
    faults.strike_at("v7-reload", "before-Build")
    try:
        assert faults.reload() == "complete"
        settings.write_text("unknown_key = 1\n" + before)
        assert faults.reload() == "aborted"
        assert "unknown_key" in faults.running_master.tail()
    finally:
        settings.write_text(before)
    faults.holds.clear()
    verdict = faults.ends("v7-reload")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, verdict
    faults.sound(next_tag="v7-reload-next")
