"""The manifest undoes what it names and never hits a stranger."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_demo import manifest as module
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.manifest import Manifest, start_time


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_noted_process_is_killed(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.process(sleeper.pid)
    assert manifest.undo_all() == []
    assert sleeper.wait(5) == -9
    assert not manifest.path.exists()


def test_another_process_with_the_same_id_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    start = start_time(sleeper.pid)
    assert start is not None
    manifest._write("process", {"pid": sleeper.pid, "start": start - 1})
    assert manifest.undo_all() == []
    assert sleeper.poll() is None


def test_start_time_reads_past_a_name_with_parentheses(tmp_path: Path) -> None:
    odd = tmp_path / "a) b ("
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "60"]) as process:
        try:
            found = start_time(process.pid)
        finally:
            process.kill()
    assert found is not None
    assert found > 0


def test_newest_first_and_one_failure_does_not_keep_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undone = []

    def undo(name: str, alias: str) -> None:
        undone.append(name)
        if name == "second":
            raise SetupFailed("it is stuck")

    monkeypatch.setitem(module.UNDO, "link", undo)
    manifest = Manifest(tmp_path / "manifest.jsonl")
    for name in ("first", "second", "third"):
        manifest.link(name)
    problems = manifest.undo_all()
    assert undone == ["third", "second", "first"]
    assert problems == [f"link {{'alias': '{manifest.mark}', 'name': 'second'}}: it is stuck"]
    # For the next sweep.
    assert manifest.path.exists()


def test_half_a_line_of_a_killed_writer_is_passed_over(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.link("smbr999")
    with manifest.path.open("a") as stream:
        stream.write('{"kind": "li')
    assert [entry["name"] for entry in manifest.entries()] == ["smbr999"]


def test_a_setting_that_somebody_changed_since_is_left_alone(tmp_path: Path) -> None:
    setting = tmp_path / "ip_forward"
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.sysctl(str(setting), "0", "1")
    setting.write_text("1\n")
    manifest.undo_all()
    assert setting.read_text() == "0"
    manifest.sysctl(str(setting), "0", "1")
    setting.write_text("2\n")
    manifest.undo_all()
    assert setting.read_text() == "2\n"


def test_what_was_noted_before_the_machine_started_again_is_not_touched(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.process(sleeper.pid)
    monkeypatch.setattr(module, "_boot_id", lambda: "another start")
    assert manifest.undo_all() == []
    assert sleeper.poll() is None
    assert not manifest.path.exists()
