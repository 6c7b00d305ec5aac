"""scripts/make-builder-image in a real engine: same files, same id; another file, another id, and it is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine, engine

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ready() -> Iterator[Engine]:
    with engine() as running:
        yield running


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A Dockerfile that is offline, with the real scripts."""
    (tmp_path / "scripts").mkdir()
    for script in ("make-builder-image", "docker-archive"):
        shutil.copy(ROOT / "scripts" / script, tmp_path / "scripts")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile.builder").write_text("FROM scratch\nCOPY content /usr/content\n")
    (tmp_path / "docker/content").write_text("one\n")
    return tmp_path


def make(ready: Engine, checkout: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    before = ready.containers()
    done = subprocess.run(
        (checkout / "scripts/make-builder-image", *arguments),
        env=ready.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert set(ready.containers()) <= set(before), "no container is left"
    return done


def test_the_same_files_give_the_same_id_whenever_they_are_made(ready: Engine, checkout: Path) -> None:
    ids = []
    for number, mtime in enumerate((10**9, 1_700_000_000)):
        os.utime(checkout / "docker/content", (mtime, mtime))
        done = make(ready, checkout, "--save", checkout / f"{number}.tar", "--id", checkout / "id")
        assert done.returncode == 0, done.stderr
        ids.append(done.stdout.strip())
        assert (checkout / "id").read_text() == done.stdout
        assert ready.image_id(ids[-1]) == ids[-1]
    assert ids[0] == ids[1]
    assert (checkout / "0.tar").read_bytes() == (checkout / "1.tar").read_bytes()


def test_a_changed_file_is_another_id_and_is_named_by_the_comparison(ready: Engine, checkout: Path) -> None:
    first = make(ready, checkout, "--save", checkout / "a.tar")
    (checkout / "docker/content").write_text("two\n")
    second = make(ready, checkout, "--save", checkout / "b.tar")
    assert first.stdout != second.stdout
    told = subprocess.run(
        (ROOT / "scripts/compare-images", checkout / "a.tar", checkout / "b.tar"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 1
    assert "usr/content" in told.stdout


def test_what_cannot_be_built_says_so_and_an_engine_that_is_away_too(ready: Engine, checkout: Path) -> None:
    (checkout / "docker/Dockerfile.builder").write_text("FROM scratch\nCOPY nothing /\n")
    done = make(ready, checkout)
    assert (done.returncode, done.stdout) == (3, "")
    assert "docker build failed" in done.stderr
    away = subprocess.run(
        (checkout / "scripts/make-builder-image",),
        env={**os.environ, "DOCKER_HOST": f"unix://{checkout}/none"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (away.returncode, "the engine does not answer" in away.stderr) == (5, True)
