"""A revoked host is out at once: its live connection ends, what it was asked for too, and no restart is needed."""

from __future__ import annotations

import json
import shutil
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


def test_a_revoked_host_is_out_at_once_and_stays_out(running: Hostile) -> None:
    liar = running.liars["host-b"]
    certificate = running.config / "tls" / "workers" / "host-b.pem"
    kept = certificate.read_bytes()
    # While it builds: its connection ends, and nobody waits for the deadline (60 s).
    running.liars["host-a"].attack("")
    mark = running.folder / "in-its-build"
    liar.attack(f"def seals(e, order):\n open({str(mark)!r}, 'w').close()\n time.sleep(300)")
    running.push_tag("v1")
    wait_until(mark.exists, "host-b in its build", timeout=60)
    revoke(running, "host-b")
    wait_until(lambda: "host-b" not in connected(running), "host-b's connection to end", timeout=20)
    assert "cutting the connection of host-b" in log(running)
    verdict = running.verdict("v1")
    running.wait_idle()
    assert verdict.outcome is Outcome.INVALID
    assert "key of host host-b is revoked: expected a key that is not revoked" in str(verdict.reasons)
    assert verdict in running.recorded()
    build = running.builds_of("iso@host-b")[-1]
    assert build["complete"] and fan_out_seconds(running) < 45, "the deadline is 60 s"

    # It comes again, with its certificate and password: refused by its entry, and asked for nothing.
    certificate.write_bytes(kept)
    liar.stop()
    liar.start()
    wait_until(lambda: "host's entry: expected one that is not revoked" in log(running), "a refusal", timeout=20)
    assert connected(running) >= {"host-a"} and "host-b" not in connected(running)
    running.push_tag("v2")
    verdict = running.verdict("v2")
    running.wait_idle()
    assert (verdict.outcome, [h.host for h in verdict.hosts]) == (Outcome.INCOMPLETE, ["host-a"])
    assert fan_out_seconds(running) < 45


def fan_out_seconds(running: Hostile) -> float:
    """How long the newest verification waited for its hosts."""
    build = running.builds_of("verify")[-1]["buildid"]
    step = next(s for s in running.api(f"builds/{build}/steps")["steps"] if s["name"] == "fan-out")
    return float(step["complete_at"] - step["started_at"])
