"""The worker port: a certificate that is another's, unknown, expired or revoked gets no worker attached."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from silvermetal_master import authority
from silvermetal_worker.certificate import admit
from silvermetal_worker.settings import WorkerDirectory

from tests.support.hostile import Hostile, Liar, hostile
from tests.support.processes import Program, run, wait_until
from tests.support.service import BIN, TinyWorker

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="this machine lacks git")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with hostile(tmp_path_factory.mktemp("tls")) as service:
        yield service


@pytest.fixture
def keys(running: Hostile) -> Iterator[Path]:
    """host-a's keys; put back afterwards."""
    folder = running.liars["host-a"].directory / "keys"
    saved = {p.name: p.read_bytes() for p in folder.iterdir()}
    admitted = running.config / "tls" / "workers" / "host-a.pem"
    certificate = admitted.read_bytes()
    yield folder
    for name, data in saved.items():
        (folder / name).write_bytes(data)
    admitted.write_bytes(certificate)


def connected(running: Hostile) -> set[str]:
    return {w["name"] for w in running.api("workers")["workers"] if w["connected_to"]}


def refused(running: Hostile, liar: Liar, words: str) -> None:
    """Start the liar anew: the master's log must say that it is refused, with ``words``, and it is not attached."""
    log = running.folder / "master.log"
    liar.stop()
    wait_until(lambda: "host-a" not in connected(running), "host-a to be gone")
    size = log.stat().st_size
    liar.start()

    def said() -> str:
        lines = log.read_bytes()[size:].decode(errors="replace").splitlines()
        return next((line for line in lines if "is refused" in line), "")

    wait_until(said, "a refusal in the master's log")
    assert words in said() and "127.0.0.1" in said(), said()
    assert "host-a" not in connected(running)


def test_a_certificate_of_another_worker_is_refused(running: Hostile, keys: Path) -> None:
    other = running.liars["host-b"].directory / "keys"
    for name in ("tls.key", "tls.pem"):
        (keys / name).write_bytes((other / name).read_bytes())
    refused(running, running.liars["host-a"], "expected the name host-a")


def test_an_unknown_authority_is_refused(running: Hostile, keys: Path, tmp_path: Path) -> None:
    authority.make_authority(tmp_path)
    path = authority.admit(tmp_path, "host-a", (keys / "tls.csr").read_bytes(), datetime.now(UTC))
    own = (keys / "authority.pem").read_bytes()
    admit(WorkerDirectory(keys.parent), path.read_bytes())
    (keys / "authority.pem").write_bytes(own)
    refused(running, running.liars["host-a"], "TLS: ")


def test_an_expired_certificate_is_refused(running: Hostile, keys: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=30)
    path = authority.admit(running.config, "host-a", (keys / "tls.csr").read_bytes(), then, days=7)
    admit(WorkerDirectory(keys.parent), path.read_bytes())
    refused(running, running.liars["host-a"], "TLS: ")


def test_a_certificate_taken_out_is_refused(running: Hostile, keys: Path) -> None:
    authority.worker_file(running.config, "host-a").unlink()
    refused(running, running.liars["host-a"], "expected one of host-a.pem")


def test_both_sides_renew_without_a_restart_of_the_master(running: Hostile, keys: Path) -> None:
    """A real worker, with new certificates on both sides, connects to the master that was there before."""
    liar = running.liars["host-a"]
    liar.stop()
    wait_until(lambda: "host-a" not in connected(running), "host-a to be gone")
    time.sleep(0.01)
    run([f"{BIN}/silvermetal-master", "renew", str(running.config)])
    argv = [f"{BIN}/silvermetal-master", "admit", str(running.config), "host-a", "--csr", str(keys / "tls.csr")]
    bundle = run(argv).strip()
    before = (keys / "tls.pem").read_bytes()
    run([f"{BIN}/silvermetal-worker", "admit", str(liar.directory), bundle])
    assert (keys / "tls.pem").read_bytes() != before
    real = TinyWorker(liar.host, liar.directory, liar.store, liar.machine_id)
    real.program = Program([f"{BIN}/silvermetal-worker", "run", str(liar.directory)], liar.directory / "real.log")
    try:
        wait_until(lambda: "host-a" in connected(running), "host-a connected", programs=[real.program])
    finally:
        real.stop()


def test_the_verdict_says_which_certificate_the_master_saw(running: Hostile, keys: Path) -> None:
    liar = running.liars["host-a"]
    wait_until(lambda: "host-a" not in connected(running), "host-a to be gone")
    liar.attack("")
    liar.start()
    running.wait_connected("host-a")
    verdict = running.judge("v1")
    seen = {h.host: h.tls_identity or "" for h in verdict.hosts}
    assert seen["host-a"].startswith("CN=host-a sha256:") and seen["host-b"].startswith("CN=host-b sha256:"), seen
