"""A tag, real hosts, one verdict: each outcome by the way that leads to it in the field."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import urllib.request
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildStore
from silvermetal_master.steps.look_closer import bound
from silvermetal_master.wait import write_sums
from silvermetal_proof.statement import Statement
from silvermetal_proof.verdict import Outcome

from tests.support.damage import Checked
from tests.support.processes import run
from tests.support.service import BIN, Service

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quiet")]


def _only(running: Service, builder: str, commit: str) -> dict[str, object]:
    """The newest build of a builder, which must be of this commit."""
    build = running.builds_of(builder)[-1]
    properties = running.api(f"builds/{build['buildid']}/properties")["properties"][0]
    assert properties["commit"][0] == commit
    return build


def test_same_bytes_from_two_hosts_are_reproduced(two_hosts: Service) -> None:
    commit = two_hosts.push_tag("v1-same")
    verdict = two_hosts.verdict("v1-same")
    assert verdict.outcome is Outcome.REPRODUCED, verdict
    assert verdict.commit == commit
    assert [h.host for h in verdict.hosts] == ["host-a", "host-b"]
    assert verdict.level == 1, "two workers on one kernel are I1 at most"
    assert any("one kernel" in reason for reason in verdict.reasons)
    two_hosts.wait_idle()
    assert _only(two_hosts, "verify", commit)["results"] == 0


def test_different_bytes_diverge_and_the_buildset_is_red(two_hosts: Service) -> None:
    two_hosts.workers["host-b"].behave('before() { hostname >> "$work/tree/payload"; }')
    two_hosts.push_tag("v1-diverge")
    verdict = two_hosts.verdict("v1-diverge")
    assert verdict.outcome is Outcome.DIVERGED
    digests = {h.iso_sha256 for h in verdict.hosts}
    assert len(digests) == 2
    two_hosts.wait_idle()
    # H2: the children are green; only the parent says it.
    assert two_hosts.builds_of("verify")[-1]["results"] == 2
    assert two_hosts.builds_of("iso@host-b")[-1]["results"] == 0


@pytest.mark.parametrize(
    ("name", "snippet", "says"),
    [
        ("empty", 'after() { : > "$output/tiny.iso"; }', "size floor"),
        ("six-bytes", "after() { printf 'dummy\\n' > \"$output/tiny.iso\"; }", "size floor"),
        ("no-iso9660", 'after() { head -c 200000 /dev/zero > "$output/tiny.iso"; }', "no ISO9660"),
        (
            "not-bootable",
            'after() { rm "$output/tiny.iso"; xorriso -as mkisofs -quiet -R -o "$output/tiny.iso" "$work/tree" '
            "</dev/null >/dev/null 2>&1; }",
            "not bootable",
        ),
    ],
)
def test_an_artefact_that_is_no_live_iso_is_invalid_even_when_both_agree(
    two_hosts: Service, name: str, snippet: str, says: str
) -> None:
    for worker in two_hosts.workers.values():
        worker.behave(snippet)
    two_hosts.push_tag(f"v1-{name}")
    verdict = two_hosts.verdict(f"v1-{name}")
    assert verdict.outcome is Outcome.INVALID
    assert says in str(verdict.reasons)
    assert two_hosts.api("builds?order=-buildid&limit=1")["builds"]


def test_both_sides_bytes_are_on_the_builds_page(two_hosts: Service) -> None:
    for host, worker in two_hosts.workers.items():
        worker.behave(f"before() {{ echo 'made by the hand of {host}' >> $work/tree/payload; }}")
    two_hosts.push_tag("v1-bytes")
    verdict = two_hosts.verdict("v1-bytes")
    assert verdict.outcome is Outcome.DIVERGED
    two_hosts.wait_idle()
    build = two_hosts.builds_of("verify")[-1]["buildid"]
    step = next(s for s in two_hosts.api(f"builds/{build}/steps")["steps"] if s["name"] == "look-closer")
    assert step["results"] == 0, step["state_string"]
    assert "% of one ISO" in step["state_string"]
    (log,) = [g for g in two_hosts.api(f"steps/{step['stepid']}/logs")["logs"] if g["name"] == "difference"]
    page = two_hosts.api(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]
    assert "made by the hand of host-a" in page
    assert "made by the hand of host-b" in page
    (link,) = [u for u in step["urls"] if u["name"] == "what differs, on one page"]
    with urllib.request.urlopen(
        f"http://127.0.0.1:{two_hosts.web}/{link['url'].partition('//')[2].partition('/')[2]}"
    ) as answer:
        assert answer.headers.get_content_type() == "text/html"
        assert answer.read().decode() == page
    record = BuildStore(two_hosts.state).record(verdict.build)
    moved = sum(p.stat().st_size for kind in ("manifests", "excerpts") for p in record.file(kind).iterdir())
    assert moved <= bound(verdict.hosts[0].size or 0), "ADR 0015"
    report = json.loads(record.file("difference.json").read_bytes())
    (payload,) = [d for d in report["differences"] if d["what"] == "content"]
    assert payload["layer_path"] == "payload"
    assert "by the hand of host-b" in json.dumps(payload)


def test_a_lever_without_effect_and_a_leak_are_told_by_the_step_and_judge_nothing(two_hosts: Service) -> None:
    leak = f'printf "%s" "{two_hosts.workers["host-a"].store}" >> "$work/tree/payload"'
    for worker in two_hosts.workers.values():
        late = 'xorriso() { SOURCE_DATE_EPOCH=1999999999 command xorriso "$@"; }'
        worker.behave(f"before() {{ {leak}; }}; {late}")
    two_hosts.push_tag("v1-audit")
    verdict = two_hosts.verdict("v1-audit")
    two_hosts.wait_idle()
    steps = {}
    for host in ("host-a", "host-b"):
        build = two_hosts.builds_of(f"iso@{host}")[-1]
        assert build["results"] == 0, "bytes decide; the audit of this recipe warns"
        rows = two_hosts.api(f"builds/{build['buildid']}/steps")["steps"]
        steps[host] = next(s for s in rows if s["name"] == "audit")
    said = steps["host-a"]["state_string"]
    assert steps["host-a"]["results"] == 1, said
    assert "the store's path in payload" in json.dumps(
        [
            two_hosts.api(f"logs/{log['logid']}/contents")
            for log in two_hosts.api(f"steps/{steps['host-a']['stepid']}/logs")["logs"]
        ]
    )
    assert "levers had no effect" in said
    assert "ISO volume dates: expected" in said
    assert str(two_hosts.workers["host-a"].store) not in said, "a log says what leaked, never the word"
    record = BuildStore(two_hosts.state).record(verdict.build)
    payload = json.loads(record.file("statements/{host}.json", "host-a").read_bytes())["payload"]
    statement = Statement.read(base64.b64decode(payload))
    names = {b.name: b.digest.sha256 for b in statement.predicate.run_details.byproducts}
    report = two_hosts.workers["host-a"].directory / "artefacts" / verdict.build / "audit.json"
    assert names["audit.json"] == hashlib.sha256(report.read_bytes()).hexdigest()
    assert "build.log" in names


def test_an_input_that_differs_is_named_before_anyone_looks_at_bytes(two_hosts: Service) -> None:
    two_hosts.workers["host-a"].behave("extra=1.2")
    two_hosts.workers["host-b"].behave("extra=1.3; before() { date >> $work/tree/payload; }")
    two_hosts.push_tag("v1-drift")
    verdict = two_hosts.verdict("v1-drift")
    assert verdict.outcome is Outcome.INPUT_DRIFT
    (drifted,) = verdict.drift
    assert drifted.name == "BUILD_INFO EXTRA"
    assert drifted.values == {"host-a": "1.2", "host-b": "1.3"}


def test_a_build_that_fails_is_incomplete_and_the_reason_names_the_step(two_hosts: Service) -> None:
    two_hosts.workers["host-b"].behave("before() { echo disk is on fire >&2; exit 3; }")
    two_hosts.push_tag("v1-fails")
    verdict = two_hosts.verdict("v1-fails")
    assert verdict.outcome is Outcome.INCOMPLETE
    assert "step build" in str(verdict.reasons)


def test_no_hash_of_the_iso_is_in_any_log_property_or_url_before_the_verdict(two_hosts: Service) -> None:
    two_hosts.push_tag("v1-sealed")
    verdict = two_hosts.verdict("v1-sealed")
    two_hosts.wait_idle()
    digest = verdict.iso_sha256
    for host in ("host-a", "host-b"):
        build = two_hosts.builds_of(f"iso@{host}")[-1]["buildid"]
        properties = json.dumps(two_hosts.api(f"builds/{build}/properties"))
        assert digest not in properties
        for step in two_hosts.api(f"builds/{build}/steps")["steps"]:
            assert digest not in json.dumps(step)
            for log in two_hosts.api(f"steps/{step['stepid']}/logs")["logs"]:
                content = json.dumps(two_hosts.api(f"logs/{log['logid']}/contents"))
                assert digest not in content, f"{step['name']} of {host}"
                assert "WORKERPASS" not in content


def test_any_damage_to_a_real_builds_output_is_told(two_hosts: Service, tmp_path: Path) -> None:
    """The folder that `wait --copy-to` hands out, with what one host's build left: every file, every kind of damage."""
    two_hosts.push_tag("v1-verify")
    verdict = two_hosts.verdict("v1-verify")
    target = tmp_path / "out"
    wait = [f"{BIN}/silvermetal-master", "wait", str(two_hosts.basedir), "--ref", "refs/tags/v1-verify"]
    run([*wait, "--copy-to", str(target)])
    shutil.copytree(two_hosts.workers["host-a"].directory / "artefacts" / verdict.build, target, dirs_exist_ok=True)
    write_sums(target)
    keys, master_key = two_hosts.config / "hosts", (two_hosts.config / "master.pub").read_text().strip()
    folder = Checked(target, keys, master_key, "silvermetal/ledger")
    argv = [f"{BIN}/silvermetal", "verify", str(target), "--keys", str(keys), "--master-key", master_key]
    assert "everything in the folder holds" in run([*argv, "--origin", "silvermetal/ledger"])
    names = folder.files()
    assert {"tiny.iso", "BUILD_INFO", "SHA256SUMS", "statements/host-b.json", "ledger/checkpoint"} <= set(names)
    for name in names:
        folder.flips(name)
    for name in ("tiny.iso", "BUILD_INFO", "ledger/checkpoint"):
        folder.lost_torn_and_unreadable(name)
    folder.strangers()
    assert folder.holds()["isos"] == 1
