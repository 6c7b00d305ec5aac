"""The tag that the demo pushes: HEAD and the pin, the same commit each time, and a checkout that is only read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from silvermetal_demo.command import Output, run
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.repository import PIN, Repository

IMAGE = "sha256:" + "ab" * 32


class NoCell:
    """Runs commands where it is: git needs no namespaces."""

    def run(self, arguments: list[str | Path], **how: Any) -> Output:
        return run(arguments, **how)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A Developer", "-c", "user.email=developer@example.org")
    done = subprocess.run(
        ["git", *who, "-C", folder, *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "config").mkdir(parents=True)
    (folder / PIN).write_text("# by digest only\nBUILDER_IMAGE=\n")
    git(folder, "init", "--quiet", "--initial-branch=work")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first", "--date=2026-01-02T03:04:05+0100")
    return folder


def make(folder: Path) -> Repository:
    folder.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return Repository(folder, NoCell(), environment)  # type: ignore[arg-type]


def test_the_tag_is_head_with_the_pin_and_reaches_the_served_repository(checkout: Path, tmp_path: Path) -> None:
    repository = make(tmp_path / "run")
    assert repository.take(checkout) == git(checkout, "rev-parse", "HEAD")
    commit = repository.pin_and_tag(IMAGE, "v1")
    repository.tell(["sh", "-c", f"cat >> {tmp_path}/heard; echo the master knows"])
    assert repository.push("v1") == "the master knows\nthe master knows"

    assert git(repository.served, "rev-parse", "v1^{commit}") == commit
    # Annotated, so that somebody has to peel it.
    assert git(repository.served, "cat-file", "-t", "v1") == "tag"
    assert git(repository.served, "show", f"v1:{PIN}") == f"# by digest only\nBUILDER_IMAGE={IMAGE}"
    assert git(repository.served, "diff", "--name-only", "v1^", "v1") == PIN
    heard = (tmp_path / "heard").read_text().splitlines()
    assert [line.split()[2] for line in heard] == ["refs/heads/main", "refs/tags/v1"]


def test_the_same_head_and_image_give_the_same_commit(checkout: Path, tmp_path: Path) -> None:
    commits = set()
    for name in ("one", "two"):
        repository = make(tmp_path / name)
        repository.take(checkout)
        commits.add(repository.pin_and_tag(IMAGE, "v1"))
    assert len(commits) == 1


def test_the_checkout_is_only_read(checkout: Path, tmp_path: Path) -> None:
    def look() -> tuple[str, str, str]:
        return (
            git(checkout, "for-each-ref"),
            git(checkout, "status", "--porcelain"),
            (checkout / ".git/config").read_text(),
        )

    (checkout / PIN).write_text("changed and not committed\n")
    before = look()
    repository = make(tmp_path / "run")
    repository.take(checkout)
    repository.pin_and_tag(IMAGE, "v1")
    repository.push("v1")
    assert look() == before


def test_a_shallow_checkout_can_be_shown(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=second")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{checkout}", str(shallow))
    repository = make(tmp_path / "run")
    repository.take(shallow)
    commit = repository.pin_and_tag(IMAGE, "v1")
    repository.push("v1")
    assert git(repository.served, "rev-parse", "v1^{commit}") == commit


def test_a_pin_file_without_its_line_is_a_sentence(checkout: Path, tmp_path: Path) -> None:
    (checkout / PIN).write_text("IMAGE=\n")
    git(checkout, "commit", "--quiet", "--all", "--message=second")
    repository = make(tmp_path / "run")
    repository.take(checkout)
    with pytest.raises(SetupFailed, match=r"builder-image.env at [0-9a-f]{12}: got 0 lines BUILDER_IMAGE="):
        repository.pin_and_tag(IMAGE, "v1")
