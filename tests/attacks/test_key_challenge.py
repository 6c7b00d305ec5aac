"""A worker that has the password, but not the enrolled key, is never attached and gets no work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from silvermetal_proof.statement import SigningKey
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile, Liar, hostile
from tests.support.processes import wait_until

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="this machine lacks git")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with hostile(tmp_path_factory.mktemp("challenge"), deadline=12, build_timeout=10) as service:
        yield service


def refused_line(running: Hostile, after: int) -> str:
    lines = (running.folder / "master.log").read_text()[after:].splitlines()
    return next((line for line in lines if "worker host-a from" in line and "is refused" in line), "")


def reconnect(running: Hostile, liar: Liar) -> str:
    """Start the liar anew; return the master's line of its refusal."""
    liar.stop()
    wait_until(lambda: "host-a" not in connected(running), "host-a to be gone")
    size = len((running.folder / "master.log").read_text())
    liar.start()
    wait_until(lambda: refused_line(running, size), "the refusal in the master's log")
    return refused_line(running, size)


def connected(running: Hostile) -> set[str]:
    return {w["name"] for w in running.api("workers")["workers"] if w["connected_to"]}


@pytest.mark.parametrize(
    ("attack", "word"),
    [
        ("def proves(master, worker, nonce): return b's' * 64", "signature does not hold"),
        ("def proves(master, worker, nonce): raise ValueError(master)", "expected an answer"),
        ("def proves(master, worker, nonce): return 'yes'", "expected a signature of 64 bytes"),
    ],
    ids=["a made-up signature", "an error", "another type"],
)
def test_a_worker_that_proves_nothing_is_not_attached(running: Hostile, attack: str, word: str) -> None:
    liar = running.liars["host-a"]
    liar.attack(attack)
    line = reconnect(running, liar)
    assert word in line and "127.0.0.1" in line, line
    assert "host-a" not in connected(running)


def test_the_password_with_another_key_gets_no_work_and_the_honest_key_does(running: Hostile) -> None:
    liar = running.liars["host-a"]
    liar.attack("")
    file = liar.directory / "keys" / "signing.pem"
    honest = file.read_bytes()
    file.write_bytes(SigningKey.generate().pem)
    assert "signature does not hold" in reconnect(running, liar)
    before = len(running.builds_of("iso@host-a"))
    running.refused("v1", Outcome.INCOMPLETE, "host-a")
    assert len(running.builds_of("iso@host-a")) == before, "no order went to it"
    file.write_bytes(honest)
    liar.stop()
    liar.start()
    running.wait_connected("host-a")
    assert running.judge("v2").outcome is Outcome.REPRODUCED


def test_a_connection_lost_while_attaching_leaves_no_phantom(running: Hostile) -> None:
    liar = running.liars["host-a"]
    liar.attack("def proves(master, worker, nonce):\n    import os\n    os._exit(1)")
    assert "expected an answer" in reconnect(running, liar)
    wait_until(lambda: "host-a" not in connected(running), "no host-a")
    liar.attack("")
    liar.stop()
    liar.start()
    running.wait_connected("host-a")
