"""A revoked host is out at once: its live connection ends, what it was asked for too, and no restart is needed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile, hostile
from tests.support.processes import run, wait_until
from tests.support.service import BIN

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="this machine lacks git")


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """A service of its own for each test: a revocation stays."""
    with hostile(tmp_path_factory.mktemp("revoke")) as service:
        yield service


def connected(running: Hostile) -> set[str]:
    return {w["name"] for w in running.api("workers")["workers"] if w["connected_to"]}


def revoke(running: Hostile, host: str) -> None:
    argv = [f"{BIN}/silvermetal-master", "revoke", str(running.config), host, "--reason", "stolen", "--json"]
    assert json.loads(run(argv))["host"] == host


def log(running: Hostile) -> str:
    return (running.folder / "master.log").read_text(errors="replace")


def test_a_live_connection_ends_and_the_host_is_asked_no_more(running: Hostile) -> None:
    liar = running.liars["host-b"]
    certificate = running.config / "tls" / "workers" / "host-b.pem"
    kept = certificate.read_bytes()
    revoke(running, "host-b")
    wait_until(lambda: "host-b" not in connected(running), "host-b's connection to end", timeout=20)
    assert "cutting the connection of host-b" in log(running)
    certificate.write_bytes(kept)  # the entry alone shuts it out, too
    liar.stop()
    liar.start()
    wait_until(lambda: "host's entry: expected one that is not revoked" in log(running), "a refusal", timeout=20)
    assert connected(running) >= {"host-a"} and "host-b" not in connected(running)
    began = time.monotonic()
    running.push_tag("v1")
    verdict = running.verdict("v1")
    assert time.monotonic() - began < 40, "nobody waits for the deadline (60 s)"
    assert (verdict.outcome, [h.host for h in verdict.hosts]) == (Outcome.INCOMPLETE, ["host-a"])
    running.wait_idle()


def test_a_build_that_runs_ends_with_the_revocation(running: Hostile) -> None:
    """It does not wait for the deadline (60 s), and the verdict says why."""
    running.liars["host-a"].attack("")
    mark = running.folder / "in-its-build"
    running.liars["host-b"].attack(f"def seals(e, order):\n open({str(mark)!r}, 'w').close()\n time.sleep(300)")
    running.push_tag("v2")
    wait_until(mark.exists, "host-b in its build", timeout=60)
    began = time.monotonic()
    revoke(running, "host-b")
    verdict = running.verdict("v2")
    assert time.monotonic() - began < 40, "the deadline would be 60 s after the start"
    assert verdict.outcome is Outcome.INVALID
    assert "key of host host-b is revoked: expected a key that is not revoked" in str(verdict.reasons)
    assert verdict in running.recorded()
    running.wait_idle()
