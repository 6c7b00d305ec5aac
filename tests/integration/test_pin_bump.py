"""A pushed pin bump is verified by two hosts, and its log is what a reviewer asks for; nothing is released of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildStore

from tests.support.processes import run, wait_until
from tests.support.service import BIN, GIT, Service

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quiet")]
ROOT = Path(__file__).parents[2]


def test_a_bump_that_is_pushed_is_verified_and_has_a_log_with_two_matching_builds(two_hosts: Service) -> None:
    shutil.copy(ROOT / "scripts" / "bump-pin", two_hosts.tree / "scripts" / "bump-pin")
    two_hosts.git("add", ".")
    two_hosts.git("commit", "--quiet", "-m", "pins can be bumped")
    two_hosts.git("push", "--quiet", "origin", "HEAD:main")
    before = two_hosts.git("rev-parse", "HEAD")
    bump = [str(two_hosts.tree / "scripts" / "bump-pin"), "source-date-epoch", "1700000000"]
    branch = run(bump, env={**os.environ, **GIT}).split()[0]
    assert two_hosts.git("rev-parse", "HEAD") == before
    verifications = len(two_hosts.builds_of("verify"))
    two_hosts.git("push", "--quiet", "origin", branch)
    ref, store = f"refs/heads/{branch}", BuildStore(two_hosts.state)
    wait_until(lambda: "build" in (store.newest(ref) or {}), f"a verdict on {ref}", timeout=180)
    two_hosts.wait_idle()
    page = run([f"{BIN}/silvermetal-master", "verification-log", str(two_hosts.basedir), "--ref", ref])
    assert "**REPRODUCED**" in page
    assert "2 matching builds of 2 hosts asked" in page
    assert "| `config/source-date-epoch.env SOURCE_DATE_EPOCH` | `none` | `1700000000` |" in page
    record = store.record((store.newest(ref) or {})["build"])
    assert record.file("verification-log.md").read_text() == page
    build = two_hosts.builds_of("verify")[verifications:]
    assert len(build) == 1
    steps = {s["name"]: s for s in two_hosts.api(f"builds/{build[0]['buildid']}/steps")["steps"]}
    assert steps["verification-log"]["state_string"] == (
        "source-date-epoch.env SOURCE_DATE_EPOCH: REPRODUCED, 2 matching builds"
    )
    # Nobody but a person merges it.
    assert two_hosts.git("ls-remote", "origin", "refs/heads/main").split()[0] == before
