"""Two masters publish one tag at once: two processes, one Gitea, one release of one of them, whole."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.gitea.server import Gitea

ROOT = Path(__file__).parents[2]
ROUNDS = 6
COUNT = 8


class Publisher:
    """A process that publishes; its own signature differs from the other's, as two masters' do."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir(exist_ok=True)
        for number in range(COUNT):
            (self.folder / f"file-{number}").write_bytes(bytes([number]) * 50_000)
        (self.folder / "SHA256SUMS.sig").write_text(f"by {name}")
        argv = [sys.executable, "-m", "tests.support.publisher", url, str(self.folder), name]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.hears() == "ready"

    def begin(self, tag: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{tag}\n")
        self.process.stdin.flush()

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def holds(self, gitea: Gitea, release: dict[str, Any]) -> bool:
        """Whether the release is exactly this publisher's files."""
        held = [(a["name"], hashlib.sha256(gitea.files[a["id"]]).hexdigest()) for a in release["assets"]]
        mine = [(p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in self.folder.iterdir()]
        return sorted(held) == sorted(mine)

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def gitea() -> Iterator[Gitea]:
    with Gitea() as running:
        yield running


def _changes(gitea: Gitea, number: int) -> list[str]:
    """What was done to one release, in order."""
    return [c for c in gitea.calls if f"/releases/{number}" in c and not c.startswith("GET")]


def test_one_of_two_publishes_and_nothing_is_doubled_or_half_published(gitea: Gitea, tmp_path: Path) -> None:
    both = [Publisher(tmp_path, name, gitea.url) for name in ("one", "two")]
    try:
        for turn in range(ROUNDS):
            tag = f"v{turn}"
            for publisher in both if turn % 2 else reversed(both):
                publisher.begin(tag)
            said = {publisher.name: publisher.hears() for publisher in both}
            winners = [p for p in both if said[p.name].startswith("published")]
            assert len(winners) == 1, said
            (loser,) = (p for p in both if p not in winners)
            assert said[loser.name].startswith("refused"), said
            found = [r for r in gitea.releases.values() if r["tag_name"] == tag]
            assert len(found) == 1, said
            assert found[0]["draft"] is False
            assert winners[0].holds(gitea, found[0])
            changes = _changes(gitea, found[0]["id"])
            assert [c.split()[0] for c in changes] == ["POST"] * (COUNT + 1) + ["PATCH"], changes
            # Asked again, the loser changes nothing of what is published.
            loser.begin(tag)
            assert loser.hears().startswith("refused")
            assert _changes(gitea, found[0]["id"]) == changes
    finally:
        for publisher in both:
            publisher.end()
    assert gitea.wrong == []


def test_the_draft_of_a_killed_master_waits_for_it(gitea: Gitea, tmp_path: Path) -> None:
    one, two = (Publisher(tmp_path, name, gitea.url) for name in ("one", "two"))
    try:
        one.begin("v1")
        end = time.monotonic() + 60
        while not any(r["assets"] for r in list(gitea.releases.values())):
            assert time.monotonic() < end
            time.sleep(0.001)
        one.process.kill()
        two.begin("v1")
        assert "expected no draft or one of two v1, got another's" in two.hears()
        (release,) = gitea.releases.values()
        assert release["draft"] is True
        one.end()
        one = Publisher(tmp_path, "one", gitea.url)
        one.begin("v1")
        assert one.hears().startswith("published")
        assert one.holds(gitea, release)
    finally:
        for publisher in (one, two):
            publisher.end()
