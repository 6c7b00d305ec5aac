"""Who may start what: a forced build takes a full commit, and only from an operator."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.browser import Browser
from tests.support.processes import run, wait_until
from tests.support.service import BIN, Service, missing_for_service

pytestmark = pytest.mark.system
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Service]:
    """A service with one operator."""
    from tests.support.processes import free_port

    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    folder: Path = tmp_path_factory.mktemp("guarded")
    running = Service(folder, free_port(), free_port(), *tiny_engine)
    running.write_settings(["host-a", "host-b"])
    run([f"{BIN}/silvermetal-master", "operator", str(running.config), "olga"], input=PASSWORD + "\n")
    running.make_repository()
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_nobody_unknown_may_force(guarded: Service) -> None:
    commit = guarded.git("rev-parse", "HEAD")
    assert Browser(guarded).force(branch="refs/heads/main", revision=commit) == 403
    with pytest.raises(urllib.error.HTTPError):
        Browser(guarded, "olga", "a wrong password")
    assert guarded.builds_of("verify") == []


def test_a_branch_name_is_no_commit(guarded: Service) -> None:
    olga = Browser(guarded, "olga", PASSWORD)
    assert olga.force(branch="refs/heads/main", revision="main") == 400
    assert olga.force(branch="main", revision=guarded.git("rev-parse", "HEAD")) == 400
    assert guarded.builds_of("verify") == []


def test_an_operator_verifies_a_full_commit(guarded: Service) -> None:
    commit = guarded.git("rev-parse", "HEAD")
    assert Browser(guarded, "olga", PASSWORD).force(branch="refs/heads/main", revision=commit) == 200
    wait_until(lambda: guarded.api("builds?complete=true")["builds"], "a build", timeout=60)
    guarded.wait_idle()
    from silvermetal_master.wait import wait_for

    ended = wait_for(guarded.basedir, "refs/heads/main", 10)
    assert ended is not None
    assert ended.verdict is not None
    assert ended.verdict.outcome is Outcome.REPRODUCED
    assert ended.verdict.commit == commit
    assert not ended.verdict.policy.release
