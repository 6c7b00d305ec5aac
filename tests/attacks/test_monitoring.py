"""``/metrics`` and ``/health`` of a real master; alerts and dashboard name what is there; the log as JSON."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile
from tests.support.processes import run, wait_until
from tests.support.service import BIN

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "config" / "monitoring" / "alerts.yaml"
DASHBOARD = ROOT / "config" / "monitoring" / "dashboard.json"
SCRAPERS_OWN = {"up"}
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="this machine lacks git")


def page(running: Hostile, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.web}/{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(running: Hostile) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, text = page(running, "metrics")
    assert status == 200, text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def value(running: Hostile, metric: str, /, **labels: str) -> float:
    return samples(running).get((metric, frozenset(labels.items())), 0.0)


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression selects, by PromQL's own grammar."""
    promql_parser.parse(expression)  # raises ValueError where it is none
    bare = re.sub(r'"[^"]*"', "", expression)
    words = set(re.findall(r"\b(?:silvermetal_[a-z_]+|up)\b", bare))
    assert words, expression
    return words


def expressions() -> dict[str, str]:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    found = {f"alert {rule['alert']}": rule["expr"] for rule in rules}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        found |= {f"panel {panel['title']} {t['refId']}": t["expr"] for t in panel["targets"]}
    assert len(found) > 25
    return found


def test_metrics_count_what_happened_and_alerts_name_only_what_is_there(watched: Hostile) -> None:
    assert watched.judge("v1").outcome is Outcome.REPRODUCED
    code = "def says(s, order): s['predicate']['silvermetal_nonce'] = '5' * 64"
    watched.refused("v2", Outcome.INVALID, host_b=code)
    watched.wait_idle()

    def counted() -> bool:
        found = samples(watched)
        done = {labels: v for (name, labels), v in found.items() if name == "silvermetal_builds_total"}
        return done.get(frozenset({("kind", "verify"), ("result", "success")})) == 1 and done.get(
            frozenset({("kind", "verify"), ("result", "failure")})
        ) == 1  # fmt: skip

    wait_until(counted, "both verifications to be counted", timeout=20)
    for outcome in Outcome:
        expected = {"REPRODUCED": 1, "INVALID": 1}.get(str(outcome), 0)
        assert value(watched, "silvermetal_verdicts_total", outcome=str(outcome)) == expected
    assert value(watched, "silvermetal_ledger_entries") == 2
    assert value(watched, "silvermetal_worker_up", worker="host-a") == 1
    assert value(watched, "silvermetal_healthy") == 1
    assert value(watched, "silvermetal_disk_free_bytes") > 0
    assert value(watched, "silvermetal_stage_seconds_count", stage="judge") == 2
    assert value(watched, "silvermetal_verification_seconds_count", result="success") == 1
    assert value(watched, "silvermetal_queue_length") == 0
    assert value(watched, "silvermetal_certificate_end_timestamp_seconds", name="host-b") > 1.7e9

    there = {name for name, _ in samples(watched)} | SCRAPERS_OWN
    unknown = {where: names - there for where, text in expressions().items() if (names := metrics_in(text)) - there}
    assert unknown == {}


def test_what_strangers_send_makes_no_new_series(watched: Hostile) -> None:
    before = set(samples(watched))
    for number in range(30):
        page(watched, f"no-such-page-{number}")
        page(watched, f"metrics?x={number}")
    after = set(samples(watched))
    assert after == before and len(after) < 500


def test_every_alert_has_its_place_in_the_handbook() -> None:
    handbook = (ROOT / "docs" / "operations.md").read_text()
    for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]:
        assert f"| `{rule['alert']}` |" in handbook
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["summary"]


def test_health_is_for_a_load_balancer(watched: Hostile) -> None:
    status, body = page(watched, "health")
    assert (status, json.loads(body)) == (200, {"ok": True, "problems": [], "warnings": []})
    entry = watched.liars["host-b"]
    entry.stop()
    wait_until(
        lambda: json.loads(page(watched, "health")[1])["warnings"] == ["hosts: expected 2 connected, got 1"],
        "the warning about the host",
    )
    assert page(watched, "health")[0] == 200
    entry.start()
    watched.wait_connected("host-b")
    checkpoint = watched.state / "ledger" / "checkpoint"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole.replace(b"\n2\n", b"\n1\n"))
    try:
        wait_until(lambda: page(watched, "health")[0] == 503, "503 for a ledger that does not hold")
        told = json.loads(page(watched, "health")[1])
        assert told["problems"] == ["ledger: it cannot be read, written or trusted; the master's log says why"]
        assert value(watched, "silvermetal_healthy") == 0
    finally:
        checkpoint.write_bytes(whole)
    wait_until(lambda: page(watched, "health")[0] == 200, "200 again")


def test_the_log_is_json_line_by_line(watched: Hostile) -> None:
    lines = (watched.folder / "master.log").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(events) > 50
    assert [line for line in lines if not line.startswith("{")] == []
    assert all({"time", "level", "system", "text"} <= set(e) and e["text"] for e in events)
    assert any("BuildMaster is running" in e["text"] for e in events)
    assert any(e["time"].startswith("20") and e["time"].endswith("+00:00") for e in events)


def test_check_takes_only_known_forms_of_log(watched: Hostile, tmp_path: Path) -> None:
    copy = tmp_path / "config"
    shutil.copytree(watched.config, copy)
    assert "2 hosts" in run([f"{BIN}/silvermetal-master", "check", str(copy)])
    file = copy / "master.toml"
    file.write_text(file.read_text().replace('logs = "json"', 'logs = "xml"'))
    with pytest.raises(AssertionError, match=r"master\.logs"):
        run([f"{BIN}/silvermetal-master", "check", str(copy)])
