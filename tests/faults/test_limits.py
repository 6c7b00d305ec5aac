"""Clocks that jump, files that cannot be opened, names that nobody knows, a host that answers twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty
from tests.support.processes import Program, run, wait_until

pytestmark = pytest.mark.system


def _restart_host(faults: Faulty, host: str, before: str) -> None:
    """Start a host's worker again with ``before`` (shell words) in front of its command."""
    worker = faults.workers[host]
    worker.stop()
    worker.start(before)
    faults.wait_connected(host)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("jump", ["+3d", pytest.param("-3d", marks=pytest.mark.bench)])
def test_clock_of_a_host_jumps(faults: Faulty, jump: str) -> None:
    """Whatever the clock says, no proof comes of it that does not hold; the verdict is there and the reason in it."""
    tag = f"v6-host{jump}"
    _restart_host(faults, "host-b", f"faketime -f {jump}")
    faults.push_tag(tag)
    verdict = faults.ends(tag)
    assert verdict is not None
    assert verdict.outcome in (Outcome.REPRODUCED, Outcome.INVALID, Outcome.INCOMPLETE), verdict
    _restart_host(faults, "host-b", "")
    faults.sound(next_tag=f"{tag}-next")


@pytest.mark.parametrize("jump", [pytest.param("+1h", marks=pytest.mark.bench), "-1h"])
def test_clock_of_the_master_jumps(faults: Faulty, jump: str) -> None:
    """A master whose clock was wrong in between has a ledger that holds, and goes on when the clock is right."""
    tag = f"v6-master{jump}"
    faults.running_master.stop()
    faults.start_master("faketime", "-f", jump)
    faults.wait_connected(*faults.workers)
    faults.push_tag(tag)
    assert faults.ends(tag) is not None
    faults.wait_idle()
    faults.running_master.stop()
    faults.restart_master()
    faults.sound(next_tag=f"{tag}-next")


def test_no_file_descriptors_are_left_on_the_master(faults: Faulty) -> None:
    pid = faults.running_master.process.pid
    used = _open_files(pid)
    run(["prlimit", "--pid", str(pid), f"--nofile={used}:4096"])
    try:
        subprocess.run(
            ["git", "push", "--quiet", "origin", "HEAD:refs/heads/none"], cwd=faults.tree, timeout=60, check=False
        )
        assert faults.running_master.running
    finally:
        run(["prlimit", "--pid", str(pid), "--nofile=4096:"])
    faults.sound(next_tag="v6-descriptors-next")


def test_no_file_descriptors_are_left_while_the_master_pins(faults: Faulty) -> None:
    faults.strike_at("v6-pinning", "before-Pin")
    pid = faults.running_master.process.pid
    before = run(["prlimit", "--pid", str(pid), "--nofile", "--output=SOFT", "--noheadings"]).strip()
    run(["prlimit", "--pid", str(pid), f"--nofile={_open_files(pid)}:"])
    try:
        faults.holds.clear()
        wait_until(lambda: "expected to note" in faults.running_master.tail(20_000), "the note that cannot be written")
        assert faults.running_master.running
    finally:
        run(["prlimit", "--pid", str(pid), f"--nofile={before}:"])
    assert faults.ends("v6-pinning") is None, "the failure is noted as soon as a file can be opened"
    faults.sound(next_tag="v6-pinning-next")


def test_names_are_gone(faults: Faulty) -> None:
    """A repository whose host's name nobody knows: the tag ends with a noted failure that names it."""
    mirror = faults.config / "master.toml"
    whole = mirror.read_text()
    faults.running_master.stop()
    mirror.write_text(whole.replace(str(faults.repository), "git://no-such-host.invalid/silvermetal.git"))
    hook = faults.repository / "hooks" / "post-receive"
    told = hook.read_text()
    try:
        faults.restart_master()
        faults.push_tag("v6-names")
        assert faults.ends("v6-names") is None
        faults.wait_idle()
    finally:
        faults.running_master.stop()
        mirror.write_text(whole)
        hook.write_text(told)
        faults.restart_master()
    faults.sound(next_tag="v6-names-next")


def test_host_answers_twice(faults: Faulty) -> None:
    """A second worker with a host's name and password, while the first one builds: one answer counts, or none."""
    faults.strike_at("v6-twice", "before-Build")
    worker = faults.workers["host-b"]
    second = Program(worker.argv(), worker.directory / "second.log")
    try:
        faults.holds.clear()
        verdict = faults.ends("v6-twice")
        assert verdict is not None
        assert verdict.outcome in (Outcome.REPRODUCED, Outcome.INCOMPLETE)
        assert len({h.host for h in verdict.hosts}) == len(verdict.hosts)
    finally:
        second.stop()
    faults.wait_connected("host-b")
    faults.sound(next_tag="v6-twice-next")


def test_memory_runs_out_in_the_builder(faults: Faulty) -> None:
    """The kernel kills what builds in its memory group; the build ends with its reason, the host goes on."""
    folders = " ".join(f"--volume {folder}:{folder}:ro" for folder in ("/bin", "/lib", "/lib64", "/usr"))
    faults.workers["host-b"].behave(
        "before() { docker run --rm --network none --memory 48m --memory-swap 48m "
        f"{folders} $BUILDER_IMAGE /usr/bin/python3 -c 'bytearray(1 << 29)'; }}"
    )
    faults.push_tag("v6-memory")
    verdict = faults.ends("v6-memory")
    assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
    assert "step build" in str(verdict.reasons) and "137" in str(verdict.reasons), verdict.reasons
    left = ["docker", "-H", faults.engine, "ps", "--all", "--quiet"]
    assert run(left) == "", "no container is left"
    faults.workers["host-b"].behave("")
    faults.sound(next_tag="v6-memory-next")
