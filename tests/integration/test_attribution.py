"""Hosts that diverged build again until it is known why: chance, a planned factor, the host, or not to be known.

Rules:

- Each host is the product's own worker; what it does wrong is a behaviour of the tiny recipe, and the master does not
  know it. ``silvermetal-vary`` really varies.
- Whatever the attribution says or fails to say, the verdict and its ledger entry are those from before it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buildbot.process.results import RETRY
from silvermetal_master import attribution
from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import PublicKey, Statement
from silvermetal_proof.verdict import Outcome, Verdict, verify_verdict

from tests.support.hostile import ORIGIN, commit_lock
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, missing_for_service

pytestmark = pytest.mark.system
PLAN = {"umask": "0077", "time_zone": "Asia/Kathmandu", "host_name": "elsewhere"}
SETTINGS = """
[attribution]
attribute = "on"
budget = {budget}
repeats = 1
deadline = 600
patience = {patience}

[variation.host-b]
"""
# The tiny recipe has no levers of its own: without these, the mask and the zone are in its ISO.
LEVERS = 'levers() { umask 022; export TZ=UTC; chmod -R u=rwX,go=rX "$work/tree"; }; before() { levers; }; '
# Always but in the second build of its kind, which is host-b's repeat: so every later build shows it.
FLAKY = """
before() {
  [ "$(umask)" = 0077 ] || { levers; return 0; }
  levers
  count=$(cat "$store/count" 2>/dev/null || echo 0); echo $((count + 1)) > "$store/count"
  [ "$count" = 1 ] || echo flaky >> "$work/tree/payload"
}
"""


class Attributing(Service):
    """A service that attributes; what the last one said."""

    def plan(self, *, budget: int = 24, patience: int = 60) -> None:
        """Write budget and patience, which each attribution reads anew."""
        file = self.config / "master.toml"
        before = file.read_text().partition("\n[attribution]")[0]
        plan = "".join(f'{name} = "{value}"\n' for name, value in PLAN.items())
        file.write_text(before + SETTINGS.format(budget=budget, patience=patience) + plan)

    def behave(self, snippet: str, *hosts: str) -> None:
        for host, worker in self.workers.items():
            worker.behave(LEVERS + (snippet if not hosts or host in hosts else ""))

    def diverge(self, tag: str) -> Verdict:
        self.push_tag(tag)
        verdict: Verdict = self.verdict(tag)
        assert verdict.outcome is Outcome.DIVERGED, verdict
        return verdict

    def record(self, verdict: Verdict) -> BuildRecord:
        return BuildStore(self.state).record(verdict.build)

    def _ended_without(self, file: Path) -> bool:
        """False while there is hope; an error that says how far it came when there is none."""
        last = self.builds_of("attribute")[-1:]
        # What a master's end cut off is RETRY, and asked for again.
        if last and last[0]["complete"] and last[0]["results"] not in (0, 1, RETRY) and not file.exists():
            steps = self.api(f"builds/{last[0]['buildid']}/steps")["steps"]
            raise AssertionError("\n".join(f"{s['name']}: {s['state_string']}" for s in steps))
        return False

    def report(self, verdict: Verdict) -> dict[str, Any]:
        """The report, when it is there; the verdict must be what it was."""
        record = self.record(verdict)
        file = record.file("attribution.json")
        wait_until(lambda: file.exists() or self._ended_without(file), "an attribution", timeout=240)
        self.wait_idle()
        key = PublicKey((self.config / "master.pub").read_text().strip())
        ledger = Ledger(self.state / "ledger", ORIGIN, key)
        index = int(record.file("ledger-index").read_text())
        assert len(ledger.check()) > index
        assert verify_verdict(ledger.entry(index), key).verdict == record.verdict == verdict
        assert self.builds_of("verify")[-1]["results"] == 2, "never a pass"
        value: dict[str, Any] = json.loads(record.file("attribution.json").read_bytes())
        return value


def tried_so_far(record: BuildRecord) -> int:
    """Builds that the inquiry has."""
    inquiry = attribution.load(record)
    return 0 if inquiry is None else len(inquiry.tried)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Attributing]:
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    folder: Path = tmp_path_factory.mktemp("attributing")
    running = Attributing(folder, free_port(), free_port(), *tiny_engine)
    running.write_settings(["host-a", "host-b"])
    running.plan()
    running.make_repository()
    commit_lock(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_a_planned_variation_that_no_lever_lets_through_is_no_drift_and_is_signed(service: Attributing) -> None:
    service.behave("")
    service.push_tag("v1")
    verdict = service.verdict("v1")
    assert verdict.outcome is Outcome.REPRODUCED, verdict
    assert {h.host: h.variation.plain() if h.variation else {} for h in verdict.hosts} == {"host-a": {}, "host-b": PLAN}
    payload = json.loads(service.record(verdict).file("statements/{host}.json", "host-b").read_bytes())["payload"]
    statement = Statement.read(base64.b64decode(payload))
    assert statement.predicate.variation is not None
    assert statement.predicate.variation.plain() == PLAN
    assert "UMASK" not in statement.internal.build_info
    service.wait_idle()
    assert service.builds_of("attribute") == []


def test_the_guilty_factor_is_found_and_named(service: Attributing) -> None:
    service.behave('before() { date +%Z >> "$work/tree/payload"; levers; }')
    verdict = service.diverge("v2-zone")
    report = service.report(verdict)
    conclusion = report["conclusion"]
    assert conclusion["kind"] == "FACTORS", report["text"]
    assert [f["factors"] for f in conclusion["findings"]] == [["time_zone"]]
    assert sorted(conclusion["cleared"]) == ["environment", "host_name", "umask"]
    assert conclusion["builds"] <= 10
    assert conclusion["seconds"] > 0
    assert "host-b: Asia/Kathmandu" in report["summary"]
    build = service.builds_of("attribute")[-1]
    assert build["results"] == 0
    assert "FACTORS: decided by the time zone" in build["state_string"]
    steps = service.api(f"builds/{build['buildid']}/steps")["steps"]
    logs = {g["name"]: g["logid"] for s in steps for g in service.api(f"steps/{s['stepid']}/logs")["logs"]}
    page = service.api(f"logs/{logs['attribution']}/contents")["logchunks"][0]["content"]
    assert "decided by the time zone" in page
    assert "without effect" in service.api(f"logs/{logs['report']}/contents")["logchunks"][0]["content"]
    verify = service.builds_of("verify")[-1]
    step = next(
        s for s in service.api(f"builds/{verify['buildid']}/steps")["steps"] if s["name"] == "start-attribution"
    )
    assert step["urls"], "the page of the verification leads to it"
    properties = service.api(f"builds/{verify['buildid']}/properties")["properties"][0]
    assert "the time zone" in properties["silvermetal_attribution"][0]
    said = run([f"{BIN}/silvermetal-master", "wait", str(service.basedir), "--ref", "refs/tags/v2-zone"], ends=1)
    assert "attribution: decided by the time zone" in said
    kept = {p.name for h in service.workers.values() for p in (h.directory / "artefacts").iterdir()}
    assert kept <= {p.name for p in (service.state / "builds").iterdir()}, "no ISO of an attribution is kept"


def test_what_differs_each_time_is_chance(service: Attributing) -> None:
    service.behave('before() { head -c 8 /dev/urandom >> "$work/tree/payload"; levers; }')
    report = service.report(service.diverge("v3-random"))
    assert report["conclusion"]["kind"] == "NONDETERMINISM", report["text"]
    assert report["conclusion"]["unstable"] == ["host-a", "host-b"]
    assert report["conclusion"]["builds"] == 2
    assert report["conclusion"].get("findings", []) == []


@pytest.mark.bench
def test_a_flaky_factor_is_found_by_repeats(service: Attributing) -> None:
    service.behave(FLAKY)
    report = service.report(service.diverge("v5-flaky"))
    (finding,) = report["conclusion"]["findings"]
    assert finding["factors"] == ["umask"], report["text"]
    assert finding["flaky"]
    assert 0 < finding["seen"][0] < finding["seen"][1]
    assert report["conclusion"]["unstable"] == ["host-b"]
    assert "not always" in report["summary"]


def test_a_spent_budget_says_so(service: Attributing) -> None:
    service.plan(budget=2)
    service.behave('before() { hostname >> "$work/tree/payload"; levers; }')
    verdict = service.diverge("v6-budget")
    report = service.report(verdict)
    service.plan()
    assert report["conclusion"]["kind"] == "OPEN", report["text"]
    assert report["conclusion"]["builds"] == 2
    assert "the budget of 2 builds is spent" in report["summary"]
    assert service.builds_of("attribute")[-1]["results"] == 1, "open is yellow"
    rounds = list(service.record(verdict).file("attribution").glob("*/orders/*.json"))
    assert len(rounds) == 2, "never beyond the budget"


def test_what_no_factor_does_is_the_environment_of_the_host_also_when_the_master_is_killed_in_between(
    service: Attributing,
) -> None:
    """H7: the attribution goes on where it stood."""
    service.behave('before() { echo "this machine" >> "$work/tree/payload"; levers; }', "host-b")
    verdict = service.diverge("v7-killed")
    record, master = service.record(verdict), service.master
    wait_until(lambda: tried_so_far(record) >= 2, "two builds of the attribution", timeout=120)
    assert master is not None
    master.kill()
    before = tried_so_far(record)
    service.start_master()
    service.wait_connected(*service.workers)
    report = service.report(verdict)
    assert report["conclusion"]["kind"] == "ENVIRONMENT", report["text"]
    assert "the environment of the host decides" in report["summary"]
    assert "host-b instead of host-a" in report["summary"]
    assert before <= report["conclusion"]["builds"] <= 8, "what was built is not built again"


def test_a_lost_worker_leaves_the_verdict_and_an_open_attribution(service: Attributing) -> None:
    service.plan(patience=2)
    worker = service.workers["host-b"]
    again = '[ "${PWD##*/}" = build ] && [ -f "$store/first" ] && { touch "$store/again"; sleep 300; }; touch "$store/first"'
    service.behave(f'before() {{ echo b >> "$work/tree/payload"; levers; {again}; }}', "host-b")
    verdict = service.diverge("v8-lost")
    wait_until((worker.store / "again").exists, "host-b's build for the attribution", timeout=60)
    assert worker.program is not None
    worker.program.kill()
    try:
        report = service.report(verdict)
        assert report["conclusion"]["kind"] == "OPEN", report["text"]
        assert "host-b failed 2 times" in report["summary"]
        assert "away for 2 s" in report["summary"]
    finally:
        service.plan()
        service.behave("")
        worker.start()
        service.wait_connected("host-b")
