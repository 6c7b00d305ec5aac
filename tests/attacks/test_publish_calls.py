"""Attacks on the publication: forced, rebuilt, with a property or a source stamp edited in Buildbot's own database.

Rules:

- Nothing of a refused verdict reaches the Gitea, and the step says the reason for which it was refused: a refusal for
  another reason (a property that did not arrive) would prove nothing.
- The baseline is a verdict that *is* admitted by the same call, so that the call itself is no reason.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from silvermetal_proof.verdict import Outcome, Verdict

from tests.fakes.gitea.server import Gitea
from tests.support.browser import Browser
from tests.support.hostile import OPERATOR, PASSWORD, Hostile, hostile
from tests.support.processes import wait_until
from tests.support.publishing import use_gitea

pytestmark = pytest.mark.system


class Publisher(Hostile):
    """A hostile service that publishes; its liars build nothing, so that nothing honest can be delivered either."""

    gitea: Gitea

    def write_settings(self, hosts: Sequence[str], **policy: int) -> None:
        super().write_settings(hosts, **policy)
        use_gitea(self.config, self.gitea)

    @property
    def builder(self) -> int:
        return int(next(b["builderid"] for b in self.api("builders")["builders"] if b["name"] == "publish"))

    def ended(self, count: int) -> dict[str, str]:
        """What the steps of the newest publication said, when there are more than ``count`` and it has ended."""
        wait_until(lambda: len(self.builds_of("publish")) > count, "a publication", timeout=30)
        self.wait_idle()
        newest = self.builds_of("publish")[-1]
        assert newest["results"] == 2, newest
        return {s["name"]: s["state_string"] for s in self.api(f"builds/{newest['buildid']}/steps")["steps"]}

    def edit(self, publication: dict[str, Any], build: str, stamp: tuple[str, str]) -> None:
        """What nobody can do by the web: another build's id, ref and commit in the request that is rebuilt."""
        request = self.api(f"buildrequests/{publication['buildrequestid']}")["buildrequests"][0]
        buildset = self.api(f"buildsets/{request['buildsetid']}")["buildsets"][0]
        with sqlite3.connect(self.basedir / "state.sqlite", timeout=20) as database:
            changed = database.execute(
                "UPDATE buildset_properties SET property_value = ? WHERE buildsetid = ? AND property_name = ?",
                (f'["{build}", "Trigger"]', buildset["bsid"], "silvermetal_build"),
            )
            assert changed.rowcount == 1
            # A new row, for the master keeps those that it has read.
            made = database.execute(
                "INSERT INTO sourcestamps (ss_hash, branch, revision, repository, codebase, project, created_at) "
                "SELECT ?, ?, ?, repository, codebase, project, created_at FROM sourcestamps WHERE id = ?",
                (secrets.token_hex(20), *stamp, buildset["sourcestamps"][0]["ssid"]),
            )
            database.execute(
                "UPDATE buildset_sourcestamps SET sourcestampid = ? WHERE buildsetid = ?",
                (made.lastrowid, buildset["bsid"]),
            )
        database.close()


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    with Gitea() as gitea:
        Publisher.gitea = gitea
        folder: Path = tmp_path_factory.mktemp("publisher")
        with hostile(folder, operator=True, kind=Publisher, deadline=30, build_timeout=20) as running:
            yield running


@pytest.fixture(scope="module")
def baseline(publisher: Publisher) -> dict[str, Any]:
    """A publication of a reproduced tag, admitted, and ended only because liars have no ISO to deliver."""
    verdict = publisher.judge("v0")
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    said = publisher.ended(0)
    assert "may be published" in said["admit"]
    assert "bytes of the ISO, got 0" in said["fetch"]
    return publisher.builds_of("publish")[-1]


BOOT_OF_A = (
    "from silvermetal_proof.host.evidence import application_hash\n"
    "def says(s, o): s['predicate']['silvermetal_hostEvidence']['boot_id'] = application_hash('boot host-a')"
)
OTHER_INPUT = (
    "def says(s, o): s['predicate']['buildDefinition']['internalParameters']['build_info']['COMMIT'] = 'dead' * 10"
)
BAD: dict[Outcome, dict[str, str]] = {
    Outcome.INVALID: {"host_b": "def says(s, o): s['predicate']['silvermetal_nonce'] = '0' * 64"},
    Outcome.INCOMPLETE: {"host_b": "async def runs(update, words): return 3 if 'build' in words else 0"},
    Outcome.INPUT_DRIFT: {"host_a": OTHER_INPUT, "host_b": OTHER_INPUT},
    Outcome.DIVERGED: {"host_b": "def says(s, o): s['predicate']['silvermetal_artefact']['chunks'] = ['0' * 64]"},
    Outcome.NOT_INDEPENDENT: {"host_b": BOOT_OF_A},
}


@pytest.mark.parametrize("outcome", BAD, ids=str)
def test_a_refused_verdict_is_published_by_no_call(
    publisher: Publisher, baseline: dict[str, Any], outcome: Outcome
) -> None:
    tag = f"v1-{str(outcome).lower().replace('_', '-')}"
    verdict = publisher.refused(tag, outcome, **BAD[outcome])
    calls, count = len(publisher.gitea.calls), len(publisher.builds_of("publish"))
    assert count == len(publisher.builds_of("publish")), "a refused verdict starts no publication"
    olga, rebuilt = Browser(publisher, OPERATOR, PASSWORD), f"builds/{baseline['buildid']}"
    stamp = {"branch": f"refs/tags/{tag}", "revision": verdict.commit, "silvermetal_build": verdict.build}

    for method, path in (("force", "forceschedulers/verify-a-commit"), ("rebuild", rebuilt)):
        assert Browser(publisher).control(path, method, builderid=publisher.builder, **stamp) == 403
    assert len(publisher.builds_of("publish")) == count

    # Forced by an operator: the scheduler takes no property of the caller's.
    assert olga.force(builderid=publisher.builder, **stamp) == 200
    said = publisher.ended(count)
    assert "nothing is published: expected the id of a build of this master, got" in said["admit"]
    assert "fetch" not in said, "no step came after it"

    # Rebuilt by an operator, with the property and the stamp that a refused verdict would need.
    publisher.edit(baseline, verdict.build, (stamp["branch"], verdict.commit))
    assert olga.control(rebuilt, "rebuild") == 200
    said = publisher.ended(count + 1)
    assert f"nothing is published: verdict: outcome: expected REPRODUCED, got {outcome}" in said["admit"]
    assert len(publisher.gitea.calls) == calls, "nothing was even asked there"
    assert not (publisher.state / "builds" / verdict.build / "release").exists()


def _dev(publisher: Publisher) -> Verdict:
    before = len(publisher.recorded())
    olga = Browser(publisher, OPERATOR, PASSWORD)
    for liar in publisher.liars.values():
        liar.attack("")
    assert olga.force(branch="refs/heads/main", revision=publisher.git("rev-parse", "origin/main")) == 200
    wait_until(lambda: len(publisher.recorded()) > before, "the verdict", timeout=60)
    publisher.wait_idle()
    return publisher.recorded()[-1]


def test_a_reproduced_verdict_of_another_ref_or_of_a_branch_is_published_by_no_call(
    publisher: Publisher, baseline: dict[str, Any]
) -> None:
    good, dev = publisher.verdict("v0"), _dev(publisher)
    assert dev.outcome is Outcome.REPRODUCED
    publisher.git("tag", "v9-never-built", good.commit)
    publisher.git("push", "--quiet", "origin", "HEAD:refs/heads/v9-never-built")
    olga, calls = Browser(publisher, OPERATOR, PASSWORD), len(publisher.gitea.calls)
    head = publisher.git("rev-parse", "HEAD")
    for build, stamp, reason in (
        (dev.build, ("refs/heads/main", dev.commit), "verdict: kind: expected a tag's verdict, got refs/heads/main"),
        (dev.build, ("refs/tags/v0", good.commit), "verdict: ref: expected refs/tags/v0, got refs/heads/main"),
        (good.build, ("refs/heads/v9-never-built", head), "verdict: ref: expected refs/heads/v9-never-built"),
        (good.build, ("refs/tags/v404", good.commit), "refs/tags/v404"),
        ("0" * 32, ("refs/tags/v0", good.commit), "expected"),
        ("../" * 10, ("refs/tags/v0", good.commit), "expected the id of a build of this master"),
    ):
        count = len(publisher.builds_of("publish"))
        publisher.edit(baseline, build, stamp)
        assert olga.control(f"builds/{baseline['buildid']}", "rebuild") == 200
        said = publisher.ended(count)
        assert "nothing is published" in said["admit"]
        assert reason in said["admit"]
    assert len(publisher.gitea.calls) == calls


def test_what_was_edited_back_is_admitted_again(publisher: Publisher, baseline: dict[str, Any]) -> None:
    """The edits above were refused for what they said, not for being edits."""
    good, count = publisher.verdict("v0"), len(publisher.builds_of("publish"))
    publisher.edit(baseline, good.build, ("refs/tags/v0", good.commit))
    assert Browser(publisher, OPERATOR, PASSWORD).control(f"builds/{baseline['buildid']}", "rebuild") == 200
    assert "may be published" in publisher.ended(count)["admit"]
