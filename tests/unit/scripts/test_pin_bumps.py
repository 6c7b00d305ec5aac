"""A bump is one commit of one file on a branch of its own; two images that differ are told apart by layer and file."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.unit.scripts.test_builder_image import ROOT, archive, root_tar

IMAGE = "sha256:" + "b" * 64
IDENTITY = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENV = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null"}


def call(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def git(cwd: Path, *argv: str) -> str:
    done = call("git", *argv, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    shutil.copytree(ROOT / "config", tree / "config", ignore=shutil.ignore_patterns("secrets"))
    shutil.copy(ROOT / "scripts/bump-pin", tree / "scripts/bump-pin")
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "-m", "first")
    return tree


@pytest.mark.parametrize(
    ("name", "value", "path", "line"),
    [
        ("builder-image", IMAGE, "config/builder-image.env", f"+BUILDER_IMAGE={IMAGE}"),
        (
            "snapshot",
            "20260720T082444Z",
            "config/snapshot-pin.env",
            "+SNAPSHOT_TIMESTAMP=20260720T082444Z",
        ),
        ("source-date-epoch", "1700000000", "config/source-date-epoch.env", "+SOURCE_DATE_EPOCH=1700000000"),
    ],
)
def test_a_bump_changes_one_line_and_nothing_of_the_checkout(
    checkout: Path, name: str, value: str, path: str, line: str
) -> None:
    (checkout / "config/master.toml").write_text("work of somebody's own, not committed\n")
    (checkout / "new").write_text("also this one\n")
    before, status = git(checkout, "rev-parse", "HEAD"), git(checkout, "status", "--porcelain")
    done = call("scripts/bump-pin", name, value, cwd=checkout)
    assert done.returncode == 0, done.stderr
    branch = done.stdout.split()[0]
    assert git(checkout, "diff", "--name-only", before, branch) == path
    changed = [
        ln for ln in git(checkout, "diff", "-U0", before, branch).splitlines() if ln[:1] == "+" and ln[:3] != "+++"
    ]
    assert changed == [line]
    assert git(checkout, "rev-parse", f"{branch}^") == before == git(checkout, "rev-parse", "HEAD")
    assert git(checkout, "status", "--porcelain") == status


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("builder-image", "debian:trixie", "never a pin"),
        ("builder-image", IMAGE[:-1], "never a pin"),
        ("source-date-epoch", "yesterday", "never a pin"),
        ("snapshot", "today", "never a pin"),
        ("derivative-maker", "18.2.2.1", "a submodule of that name"),
        ("derivative-maker", "main branch", "full commit"),
        ("derivative-maker", "a" * 40, "a submodule of that name"),
        ("lock", "/nowhere", "can be read"),
    ],
)
def test_what_is_no_pin_is_refused_and_leaves_no_branch(checkout: Path, name: str, value: str, says: str) -> None:
    done = call("scripts/bump-pin", name, value, cwd=checkout)
    assert (done.returncode, done.stdout) == (4, "")
    assert says in done.stderr
    assert git(checkout, "branch", "--list", "bump/*") == ""


def test_a_tag_of_derivative_maker_changes_its_gitlink_and_its_name_and_nothing_else(
    checkout: Path, tmp_path: Path
) -> None:
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    git(upstream, "init", "--quiet", "--initial-branch=main")
    git(upstream, "commit", "--quiet", "--allow-empty", "-m", "one")
    old = git(upstream, "rev-parse", "HEAD")
    git(upstream, "commit", "--quiet", "--allow-empty", "-m", "two")
    git(upstream, "tag", "-a", "-m", "t", "18.9.9.9-developers-only")
    new = git(upstream, "rev-parse", "HEAD")
    (checkout / ".gitmodules").write_text(
        f'[submodule "derivative-maker"]\n\tpath = derivative-maker\n\turl = {upstream}\n'
    )
    git(checkout, "add", ".gitmodules")
    git(checkout, "update-index", "--add", "--cacheinfo", f"160000,{old},derivative-maker")
    git(checkout, "commit", "--quiet", "-m", "a submodule")
    done = call("scripts/bump-pin", "derivative-maker", "18.9.9.9-developers-only", cwd=checkout)
    assert done.returncode == 0, done.stderr
    branch = done.stdout.split()[0]
    assert git(checkout, "ls-tree", branch, "--", "derivative-maker").split()[2] == new
    changed = git(checkout, "diff", "--name-only", "HEAD", branch).splitlines()
    assert changed == ["config/silvermetal-base.conf", "derivative-maker"]
    missing = call("scripts/bump-pin", "derivative-maker", "18.0.0.0", cwd=checkout)
    assert (missing.returncode, "expected the tag 18.0.0.0 in" in missing.stderr) == (4, True)


def renamed(tar: bytes) -> bytes:
    """The same tar, with usr/b called usr/c."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as old, tarfile.open(fileobj=buffer, mode="w") as new:
        for member in old:
            member.name = member.name.replace("usr/b", "usr/c")
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()


def test_two_images_of_one_root_are_the_same_and_a_changed_file_is_named(tmp_path: Path) -> None:
    tool = ROOT / "scripts/compare-images"
    _, one = archive(tmp_path, "one.tar", root_tar(1, "root", b"here"))
    _, two = archive(tmp_path, "two.tar", root_tar(2, "me", b"there"))
    same = call(tool, one, two, cwd=tmp_path)
    assert (same.returncode, same.stdout) == (0, "the same content, layer by layer\n")
    _, other = archive(tmp_path, "other.tar", renamed(root_tar(1, "root", b"x")))
    differs = call(tool, one, other, cwd=tmp_path)
    assert differs.returncode == 1
    assert "layer 1: sha256:" in differs.stdout
    assert "usr/b: only in the first" in differs.stdout
    assert "usr/c: only in the second" in differs.stdout
    assert call(tool, one, tool, cwd=tmp_path).returncode == 2
