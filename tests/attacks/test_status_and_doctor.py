"""Commands that look at a real service: ``status`` on the master, up and down; ``doctor`` on a worker's connection."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master import authority
from silvermetal_proof.verdict import Outcome
from silvermetal_worker.certificate import admit
from silvermetal_worker.connection import connection_checks
from silvermetal_worker.settings import WorkerDirectory

from tests.support.hostile import Hostile
from tests.support.processes import run, wait_until
from tests.support.service import BIN

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="this machine lacks git")


@pytest.fixture
def running(watched: Hostile) -> Hostile:
    """The service, up and whole again."""
    for liar in watched.liars.values():
        liar.attack("")
    if watched.master is None or not watched.master.running:
        watched.start_master()
    here = {w["name"] for w in watched.api("workers")["workers"] if w["connected_to"]}
    for name, liar in watched.liars.items():
        if name not in here:
            liar.stop()
            liar.start()
    watched.wait_connected("host-a", "host-b")
    return watched


def status(running: Hostile, code: int = 0) -> dict[str, Any]:
    argv = [f"{BIN}/silvermetal-master", "status", str(running.basedir), "--json"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def checks(folder: Path) -> dict[str, tuple[bool, str]]:
    return {c.name: (c.good, c.got) for c in connection_checks(WorkerDirectory(folder))}


def test_doctor_shakes_hands_with_the_master_as_the_worker_does(running: Hostile, tmp_path: Path) -> None:
    own = running.liars["host-a"].directory
    found = checks(own)
    assert [name for name, (good, _) in found.items() if not good] == [], found
    assert found["master"][1].startswith(f"127.0.0.1:{running.pb} answers; its certificate counts until ")

    ending = tmp_path / "ending"
    shutil.copytree(own, ending)
    csr = (own / "keys" / "tls.csr").read_bytes()
    for days, words in ((7, "in 6 days"), (1, "in 0 days")):
        bundle = authority.admit(running.config, "host-a", csr, datetime.now(UTC), days=days).read_bytes()
        admit(WorkerDirectory(ending), bundle)
        assert checks(ending)["TLS certificate"][0] is False and words in checks(ending)["TLS certificate"][1]
    authority.admit(running.config, "host-a", csr, datetime.now(UTC))
    bundle = authority.admit(running.config, "host-a", csr, datetime.now(UTC) - timedelta(days=9), days=2).read_bytes()
    admit(WorkerDirectory(ending), bundle)
    found = checks(ending)
    assert "one that ended on" in found["TLS certificate"][1]
    assert found["master"][0] is False, "the master refuses it"

    strange = tmp_path / "strange"
    shutil.copytree(own, strange)
    authority.make_authority(tmp_path / "other")
    stranger = authority.admit(tmp_path / "other", "host-a", csr, datetime.now(UTC)).read_bytes()
    mine = (own / "keys" / "authority.pem").read_bytes()
    admit(WorkerDirectory(strange), stranger)
    (strange / "keys" / "authority.pem").write_bytes(mine)
    found = checks(strange)
    assert "another authority" in found["TLS certificate"][1] and found["master"][0] is False
    (strange / "keys" / "tls.key").chmod(0o644)
    assert "chmod 600" in checks(strange)["TLS key"][1]


def test_doctor_names_a_master_that_does_not_answer(running: Hostile, tmp_path: Path) -> None:
    away = tmp_path / "away"
    shutil.copytree(running.liars["host-b"].directory, away)
    text = (away / "worker.toml").read_text().replace(f"127.0.0.1:{running.pb}", "127.0.0.1:9")
    (away / "worker.toml").write_text(text)
    argv = [f"{BIN}/silvermetal-worker", "doctor", str(away), "--checkout", str(running.tree), "--recipe", "tiny"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert "NOT OK  master: expected an answer by mutual TLS, got" in done.stdout
    assert "ok      TLS certificate: until" in done.stdout


def test_status_of_a_running_and_of_a_dead_master_is_the_same_but_for_that(running: Hostile) -> None:
    assert running.judge("v11").outcome is Outcome.REPRODUCED
    running.wait_idle()
    up = status(running)
    assert up["master"]["up"] and {w["host"]: w["connected"] for w in up["workers"]} == {"host-a": True, "host-b": True}
    newest = up["ledger"]["last"][0]
    assert (newest["entry"], newest["ref"], newest["outcome"]) == (
        up["ledger"]["size"] - 1,
        "refs/tags/v11",
        "REPRODUCED",
    )
    assert up["disk"]["free"] > 0 and (up["waiting"], up["running"]) == ([], [])

    mark = running.folder / "builds-now"
    running.liars["host-a"].attack("")
    running.liars["host-b"].attack(f"def seals(e, order):\n open({str(mark)!r}, 'w').close()\n time.sleep(300)")
    running.push_tag("v12")
    wait_until(mark.exists, "host-b in its build", timeout=60)
    assert {r["builder"] for r in status(running)["running"]} >= {"verify", "iso@host-b"}
    assert running.master is not None
    seen = running.state / "seen.json"
    wait_until(seen.exists, "the note of who was seen")
    running.master.kill()
    down = status(running, code=4)
    assert not down["master"]["up"] and "Connection refused" in down["master"]["problem"]
    assert {r["builder"] for r in down["running"]} >= {"verify", "iso@host-b"}
    assert [w["connected"] for w in down["workers"]] == [False, False]
    assert all(w["last_seen"] for w in down["workers"])
    assert (down["ledger"], "problem" in down["disk"]) == (up["ledger"], False)
    text = subprocess.run(
        [f"{BIN}/silvermetal-master", "status", str(running.basedir)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    assert text.startswith("master   DOWN: http://127.0.0.1:") and "away, last seen 20" in text
    assert "running  iso@host-b build " in text and "refs/tags/v11 REPRODUCED: " in text

    same = run([f"{BIN}/silvermetal-master", "upgrade", str(running.basedir)], timeout=120)
    assert same.strip().endswith(", as before")
    database = running.basedir / "state.sqlite"
    kept = database.read_bytes()
    database.write_bytes(b"not a database" * 100)
    broken = status(running, code=4)
    assert "not a database" in broken["database"]["problem"] and broken["ledger"] == up["ledger"]
    database.write_bytes(kept)


def test_upgrade_leaves_a_running_master_alone(running: Hostile) -> None:
    done = subprocess.run(
        [f"{BIN}/silvermetal-master", "upgrade", str(running.basedir)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "expected no other master in this folder" in done.stderr
