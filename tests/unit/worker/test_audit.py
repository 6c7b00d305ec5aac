"""The audit on a host: what is looked for, what a log may say of it, and what a finding does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from silvermetal_worker.audit import EVERYWHERE, REPORT_FILE, _without, audit, findings, policy_of, words
from silvermetal_worker.cli import main
from silvermetal_worker.errors import WorkerError
from silvermetal_worker.settings import WorkerSettings

from tests.unit.worker.orders import LOCK, PINS, make_order

EPOCH = 1700000000
SETTINGS = WorkerSettings(name="worker-host-a", host="host-a", master="127.0.0.1:9989", store="/srv/store-of-a")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "BUILD_INFO").write_text(f"RECIPE=minimal-live\nSOURCE_DATE_EPOCH={EPOCH}\n")
    (folder / "packages.lock").write_bytes(LOCK)
    return folder


def image(output: Path, payload: str, epoch: int = EPOCH) -> None:
    """A real ISO with one file."""
    if shutil.which("xorriso") is None:
        pytest.skip("this machine lacks xorriso")
    tree = output.parent / "tree"
    tree.mkdir()
    (tree / "payload").write_text(payload)
    subprocess.run(["touch", "-d", f"@{epoch}", tree / "payload", tree], check=True, timeout=30)
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", output / "a.iso", tree]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(epoch)}
    subprocess.run(argv, check=True, timeout=60, env=env, stdin=subprocess.DEVNULL, capture_output=True)


def test_a_clean_image_has_no_findings_and_its_report_stays_with_its_owner(output: Path, tmp_path: Path) -> None:
    image(output, "nothing of this host\n")
    found = audit(make_order(), SETTINGS, checkout=tmp_path / "checkout", folder=output)
    assert found.lines == ()
    assert found.checked >= 2
    report = output / REPORT_FILE
    assert json.loads(report.read_text())["ok"] is True
    assert report.stat().st_mode & 0o777 == 0o600, "it names the nonce"


@pytest.mark.parametrize(
    ("word", "what"),
    [
        (make_order().nonce, "the nonce"),
        (make_order().worker, "the worker's name"),
        ("/srv/store-of-a", "the store's path"),
    ],
)
def test_a_trace_of_the_host_is_told_by_what_it_is_and_never_by_itself(
    output: Path, tmp_path: Path, word: str, what: str
) -> None:
    image(output, f"built with {word} here\n")
    found = audit(make_order(), SETTINGS, checkout=tmp_path / "checkout", folder=output)
    assert [line for line in found.leaks if line.startswith(what) and "payload" in line]
    assert word not in found.summary + "".join(found.lines)


def test_a_lever_without_effect_is_a_finding(output: Path, tmp_path: Path) -> None:
    image(output, "late\n", epoch=EPOCH + 3600)
    found = audit(make_order(), SETTINGS, checkout=tmp_path / "checkout", folder=output)
    assert any(line.startswith("ISO volume dates: expected 2023-11-14T22:13:20Z") for line in found.levers), found


def test_what_every_image_holds_is_not_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "debian.example.org")
    known = words(make_order(), SETTINGS, tmp_path / "output", tmp_path)
    assert known["debian.example.org"] == "the host's own name"
    assert not EVERYWHERE & set(known)
    assert min(map(len, known)) >= 4


def test_a_word_within_a_finding_is_hidden(tmp_path: Path) -> None:
    report = {
        "levers": [
            {"lever": "dates", "ok": False, "severity": "error", "got": "by host-a", "expected": "none", "where": ""}
        ],
        "leaks": [{"word": "host-a", "path": "etc/host-a.conf", "where": "name"}],
    }
    found = findings(report, {"host-a": "the host's name"})
    assert "host-a" not in "".join(found.lines)
    assert found.leaks == ("the host's name in etc/<the host's name>.conf (name)",)


def test_the_recipes_policy_is_warn_or_fail() -> None:
    assert policy_of(make_order()) == "warn"
    strict = PINS.model_copy(update={"settings": {"AUDIT": "fail"}})
    assert policy_of(make_order(pins=strict)) == "fail"
    with pytest.raises(WorkerError, match="AUDIT: expected warn or fail, got 'maybe'"):
        policy_of(make_order(pins=PINS.model_copy(update={"settings": {"AUDIT": "maybe"}})))


@pytest.mark.parametrize(("policy", "code"), [("warn", 6), ("fail", 3)])
def test_what_cannot_be_audited_is_a_finding(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, code: int
) -> None:
    (output / "a.iso").write_bytes(b"dummy\n")
    worker = tmp_path / "worker"
    worker.mkdir()
    (worker / "worker.toml").write_text(
        'name = "worker-host-a"\nhost = "host-a"\nmaster = "127.0.0.1:9989"\nstore = "/srv/store-of-a"\n'
    )
    monkeypatch.setenv("SILVERMETAL_WORKER_DIR", str(worker))
    order = tmp_path / "order.json"
    order.write_bytes(make_order(pins=PINS.model_copy(update={"settings": {"AUDIT": policy}})).encode())
    ended = CliRunner().invoke(main, ["audit", "--order", str(order), "--output", str(output)])
    assert ended.exit_code == code, ended.output
    assert "no audit: silvermetal audit: expected exit code 0 or 1, got 3" in ended.output


def test_a_word_in_capitals_does_not_reach_a_log_either() -> None:
    said = _without("a leak in /EFI/HOST-A.TXT of host-a", {"host-a": "the host's own name"})
    assert said == "a leak in /EFI/<the host's own name>.TXT of <the host's own name>"
