"""What a master refuses to start with, and that it starts again when that is put right."""

from __future__ import annotations

import shutil
import signal
import subprocess

import pytest
from silvermetal_proof import ProofError
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty
from tests.support.processes import wait_until
from tests.support.service import BIN

pytestmark = pytest.mark.system


def _refusal(faults: Faulty) -> str:
    """What a start that must fail says: one line, no traceback."""
    argv = [f"{BIN}/silvermetal-master", "run", str(faults.basedir)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_two_masters_on_one_folder(faults: Faulty) -> None:
    said = _refusal(faults)
    assert "expected no other master in this folder" in said
    assert faults.running_master.running
    faults.sound(next_tag="v2-two-masters")


@pytest.mark.parametrize(
    "size", [pytest.param(0, marks=pytest.mark.bench), pytest.param(4096, marks=pytest.mark.bench), 50_000]
)
def test_truncated_database(faults: Faulty, size: int) -> None:
    faults.running_master.stop()
    database = faults.basedir / "state.sqlite"
    backup = faults.folder / "backup.sqlite"
    for suffix in ("-wal", "-shm"):
        assert not database.with_name(database.name + suffix).exists(), "a clean stop leaves one file"
    shutil.copyfile(database, backup)
    with database.open("r+b") as stream:
        stream.truncate(size)
    try:
        assert "restore the last backup" in _refusal(faults)
        assert database.stat().st_size == size, "nothing is repaired by itself"
    finally:
        shutil.copyfile(backup, database)
        faults.restart_master()
    faults.sound(next_tag=f"v2-truncated-{size}")


def test_truncated_ledger(faults: Faulty) -> None:
    """Nothing is appended to a ledger that does not hold; when it is restored, the verdict is in it."""
    faults.push_tag("v2-whole")
    assert faults.ends("v2-whole")
    faults.wait_idle()
    last = max((faults.state / "ledger" / "entries").iterdir())
    kept = last.read_bytes()
    last.unlink()
    try:
        with pytest.raises(ProofError, match="truncated"):
            faults.ledger.check()
        faults.push_tag("v2-cut")
        assert faults.ends("v2-cut") is None, "a verdict that cannot be recorded is none"
        faults.wait_idle()
        assert faults.builds_of("verify")[-1]["results"] == 2
    finally:
        last.write_bytes(kept)
    faults.running_master.stop()
    faults.restart_master()
    verdict = faults.ends("v2-cut")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.sound(next_tag="v2-cut-next")


def test_configuration_is_reloaded_in_mid_build(faults: Faulty) -> None:
    faults.strike_at("v2-reload", "before-Build")
    faults.running_master.signal(signal.SIGHUP)
    wait_until(lambda: "configuration update complete" in faults.running_master.tail(6000), "the reload")
    faults.holds.clear()
    verdict = faults.ends("v2-reload")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.sound(next_tag="v2-reload-next")


def test_broken_configuration_is_reloaded_in_mid_build(faults: Faulty) -> None:
    settings = faults.config / "master.toml"
    whole = settings.read_text()
    faults.strike_at("v2-broken", "before-Build")
    settings.write_text(whole.replace("quorum", "qourum"))
    try:
        faults.running_master.signal(signal.SIGHUP)
        wait_until(lambda: "qourum" in faults.running_master.tail(6000), "the reload's refusal")
    finally:
        settings.write_text(whole)
    faults.holds.clear()
    verdict = faults.ends("v2-broken")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.sound(next_tag="v2-broken-next")
