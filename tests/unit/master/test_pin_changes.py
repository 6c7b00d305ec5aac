"""Which pins a commit changes is read from git alone; the page about it says what the verdict says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from silvermetal_master.gitea.events import BUMP_CATEGORY, changes_of
from silvermetal_master.mirror import Mirror
from silvermetal_master.pin_changes import pin_changes
from silvermetal_proof.verdict import decide
from silvermetal_proof.verdict.verification_log import PinChange, verification_log

from tests.unit.proof.makers import A, B, case

IMAGE = "sha256:" + "a" * 64


def git(tree: Path, *argv: str) -> str:
    argv = ("git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org", *argv)
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "config").mkdir(parents=True)
    git(tree, "init", "--quiet", "--initial-branch=main")
    (tree / "config/builder-image.env").write_text("BUILDER_IMAGE=\n")
    (tree / "config/tiny.conf").write_text("PACKAGES=a\n")
    commit(tree)
    return tree


def commit(tree: Path) -> str:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "-m", "x")
    return git(tree, "rev-parse", "HEAD")


def found(tree: Path, what: str) -> list[tuple[str, str, str]]:
    mirror = Mirror(tree / ".git", str(tree))
    return [(c.name, c.old[:12], c.new[:12]) for c in pin_changes(mirror, what, "tiny")]


def test_each_kind_of_pin_is_named_with_old_and_new(tree: Path) -> None:
    assert found(tree, git(tree, "rev-parse", "HEAD")) == [], "a first commit changes nothing"
    (tree / "config/builder-image.env").write_text(f"# why\nBUILDER_IMAGE={IMAGE}\n")
    assert found(tree, commit(tree)) == [("config/builder-image.env BUILDER_IMAGE", "none", IMAGE[:12])]
    (tree / "config/tiny.lock").write_text("{}")
    (tree / "config/tiny.conf").write_text("PACKAGES=a\nLEVEL=6\n")
    names = [name for name, _, _ in found(tree, commit(tree))]
    assert names == ["config/tiny.conf LEVEL", "config/tiny.lock"]
    git(tree, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},derivative-maker")
    git(tree, "commit", "--quiet", "-m", "x")
    before = git(tree, "rev-parse", "HEAD")
    assert found(tree, before) == [("derivative-maker", "none", "1" * 12)]
    (tree / "README").write_text("no pin\n")
    git(tree, "add", "README")
    git(tree, "commit", "--quiet", "-m", "x")
    assert found(tree, git(tree, "rev-parse", "HEAD")) == []


def test_a_settings_file_that_is_none_is_a_change_and_no_error(tree: Path) -> None:
    (tree / "config/builder-image.env").write_text("no settings at all\n")
    names = [name for name, _, _ in found(tree, commit(tree))]
    assert names == ["config/builder-image.env (the file)", "config/builder-image.env BUILDER_IMAGE"][: len(names)]
    assert names


def test_the_page_of_a_good_change_shows_two_matching_builds() -> None:
    verdict = decide(case(A, B))
    assert verdict.passed
    page = verification_log(verdict, [PinChange(name="config/x.env KEY", old="none", new="a|b`c")])
    assert "**REPRODUCED**" in page
    assert "2 matching builds of 2 hosts asked" in page
    assert "| `config/x.env KEY` | `none` | `a\\|b'c` |" in page
    assert page.count(f"`{verdict.iso_sha256}`") == 2
    assert "not verified" not in page


def test_the_page_of_a_change_that_was_not_reproduced_says_so() -> None:
    verdict = decide(case(A))
    page = verification_log(verdict, [])
    assert not verdict.passed
    assert "**This change is not verified.**" in page
    assert "No pin." in page
    assert "1 matching builds" in page


BUMP = {"ref": "refs/heads/bump/lock-0123", "before": "0" * 40, "after": "1" * 40}


def test_a_pushed_bump_is_a_change_of_its_own_category() -> None:
    (change,) = changes_of("push", BUMP, repository="r", tags="v.*")
    assert (change["category"], change["branch"], change["revision"]) == (BUMP_CATEGORY, BUMP["ref"], "1" * 40)
    for other in ("refs/heads/main", "refs/heads/bump/", "refs/heads/bump/../x y", "refs/heads/x/bump/lock"):
        assert changes_of("push", {**BUMP, "ref": other}, repository="r", tags="v.*") == []
    assert changes_of("push", {**BUMP, "after": "0" * 40}, repository="r", tags="v.*") == [], "a deleted branch"
