"""What killed builds left: this worker's own go, all else stays, and an engine that is down keeps nobody from starting."""

from __future__ import annotations

from pathlib import Path

import pytest
from silvermetal_worker import enrol
from silvermetal_worker.leftovers import LABEL, sweep
from silvermetal_worker.settings import WorkerDirectory


class OneContainer:
    """An engine with one container of this worker's."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Path]] = []

    def remove_of(self, label: str, *, below: Path) -> list[str]:
        self.asked.append((label, below))
        return ["0123456789ab"]


@pytest.fixture
def directory(tmp_path: Path) -> WorkerDirectory:
    values = {"name": "w", "host": "h", "master": "127.0.0.1:1", "store": "/store", "docker_host": "unix:///nowhere"}
    enrol.init(tmp_path / "worker", values, "password")
    return WorkerDirectory(tmp_path / "worker")


def test_own_folders_go_and_all_else_stays(directory: WorkerDirectory, tmp_path: Path) -> None:
    builds = directory.path / "builds"
    left = builds / "iso-h" / "output.Ab3xY9"
    kept = [builds / "iso-h" / name for name in ("build", "output", "output.log", "build.old", "output.Ab3xY9Z")]
    for folder in (left, *kept):
        (folder / "in").mkdir(parents=True)
    (tmp_path / "elsewhere.abcdef").mkdir()
    (builds / "iso-h" / "linked.abcdef").symlink_to(tmp_path / "elsewhere.abcdef")
    engine = OneContainer()
    assert sweep(directory, engine) == ["container 0123456789ab", "folder iso-h/output.Ab3xY9"]  # type: ignore[arg-type]
    assert engine.asked == [(LABEL, builds.resolve())]
    assert not left.exists()
    assert all(folder.exists() for folder in kept)
    assert (tmp_path / "elsewhere.abcdef").exists()


def test_an_engine_that_is_down_is_said_and_hinders_nothing(
    directory: WorkerDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol._sweep(directory)
    assert "leftovers were not looked for: container engine: expected an answer" in capsys.readouterr().err
