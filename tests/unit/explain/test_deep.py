"""diffoscope is bounded whatever it does, and is asked in the words that the real one knows."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from silvermetal_explain import deep
from silvermetal_explain.cli import compared
from silvermetal_explain.diagnosis import Diagnosis
from silvermetal_explain.limits import Limits

from tests.cases.catalogue import ALL
from tests.cases.world import build, missing

Fake = Callable[[str], None]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two that differ in a program's code, about which bytes alone tell nothing."""
    if missing():
        pytest.skip(f"not installed: {', '.join(missing())}")
    folder = tmp_path_factory.mktemp("deep")
    return [build(folder / name, side, [ALL["elf-code"]]) for side, name in enumerate("ab")]


@pytest.fixture
def diagnosis(images: list[Path]) -> Diagnosis:
    """Before the closer look."""
    return compared(images[0], images[1], Limits(memory=4 << 30))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A diffoscope of one's own: the lines of a shell script."""

    def write(lines: str) -> None:
        script = tmp_path / "diffoscope"
        script.write_text(f"#!/bin/sh\n{lines}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


def evidence(diagnosis: Diagnosis) -> list[str]:
    """What the one vague difference says after the closer look."""
    (d,) = [d for d in diagnosis.comparison.differences if deep.vague(d)]
    before = len(d.evidence)
    deep.look(diagnosis)
    return d.evidence[before:]


def test_one_that_hangs_is_stopped_with_all_that_it_started(
    diagnosis: Diagnosis, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep, "SECONDS", 2)
    # the grandchild keeps the output open, as a decompressor of the real one would
    fake(f"sleep 600 & echo $! > {tmp_path}/grandchild; trap '' TERM; wait; sleep 600")
    begun = time.monotonic()
    assert evidence(diagnosis) == ["diffoscope: stopped after 2 s"]
    assert time.monotonic() - begun < 60
    grandchild = Path("/proc", (tmp_path / "grandchild").read_text().strip())
    deadline = time.monotonic() + 30
    while grandchild.exists() and "(sleep) Z" not in (grandchild / "stat").read_text():
        assert time.monotonic() < deadline, "a process was left running"
        time.sleep(0.05)


def test_one_that_says_too_much_is_cut(diagnosis: Diagnosis, fake: Fake) -> None:
    fake("yes 'a line of a report without an end' | head -c 3000000; exit 1")
    said = evidence(diagnosis)
    assert (said[0], said[-1], len(said)) == ("diffoscope says:", "…", deep.LINES + 2)


def test_one_that_wants_too_much_memory_or_disk_is_a_note(
    diagnosis: Diagnosis, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep, "MEMORY", 64 << 20)
    fake("exec python3 -c 'bytearray(1 << 30)'")
    (said,) = evidence(diagnosis)
    assert said.startswith("diffoscope: exit code 1: ")
    assert said.endswith("MemoryError")
    monkeypatch.setattr(deep, "DISK", 1 << 20)
    fake('exec head -c 9000000 /dev/zero > "$TMPDIR/large"')
    (said,) = evidence(diagnosis)
    assert said.startswith("diffoscope: exit code")


def test_one_that_fails_says_why(diagnosis: Diagnosis, fake: Fake) -> None:
    fake("echo no such option >&2; exit 2")
    assert evidence(diagnosis) == ["diffoscope: exit code 2: no such option"]


def test_the_real_one_is_asked_in_words_that_it_knows(diagnosis: Diagnosis) -> None:
    if shutil.which("diffoscope") is None:
        pytest.skip("not installed: diffoscope")
    said = evidence(diagnosis)
    assert said[0] == "diffoscope says:", said
    assert len(said) > 3
