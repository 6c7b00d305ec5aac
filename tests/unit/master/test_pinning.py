"""Pinning against a real local repository: tags are peeled, moved tags and unpinned inputs refused."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from silvermetal_master import pinning
from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror, output_of, resolve_ref
from silvermetal_master.pinning import pin

IMAGE = "sha256:" + "a" * 64
PACKAGE = {
    "name": "hello",
    "version": "1.0",
    "architecture": "amd64",
    "filename": "pool/main/h/hello/hello_1.0_amd64.deb",
    "size": 1,
    "sha256": "0" * 64,
}
LOCK = json.dumps({"version": 1, "architecture": "amd64", "suite": "bookworm", "packages": [PACKAGE]})


class Repository:
    """A repository with a recipe, and its working tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("config/tiny.conf", 'PACKAGES="hello"\n')
        self.write("config/source-date-epoch.env", "SOURCE_DATE_EPOCH=\n")
        self.write("config/builder-image.env", f"BUILDER_IMAGE={IMAGE}\n")
        self.first = self.commit("first")

    @property
    def url(self) -> str:
        return str(self.path)

    def git(self, *argv: str) -> str:
        identity = {
            f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        env = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_COMMITTER_DATE": "1700000000 +0000"}
        done = subprocess.run(["git", *argv], cwd=self.path, env=env, capture_output=True, timeout=60, check=True)
        return done.stdout.decode().strip()

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for the two tools that need a package archive; each writes down its call."""
    folder = tmp_path / "tools"
    folder.mkdir()
    script = f"""#!{sys.executable}
import sys, pathlib
here = pathlib.Path(__file__)
with open(here.with_name("calls"), "a") as log: print(here.name, *sys.argv[1:], file=log)
if "-o" in sys.argv: pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text({LOCK!r})
sys.exit(3 if here.with_suffix(".fails").exists() else 0)
"""
    for name in ("silvermetal-resolve-lock", "silvermetal-fetch"):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setattr(pinning, "_tool", lambda name: str(folder / name))
    return folder


def take(repository: Repository, tmp_path: Path, ref: str, hint: str | None = None, recipe: str = "tiny"):
    commit = resolve_ref(repository.url, ref, hint)
    (tmp_path / "out").mkdir(exist_ok=True)
    mirror = Mirror(tmp_path / "mirror.git", repository.url)
    return pin(mirror=mirror, ref=ref, commit=commit, recipe_name=recipe, folder=tmp_path / "out")


def test_a_lightweight_tag(repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "v1")
    pinned = take(repository, tmp_path, "refs/tags/v1", repository.first)
    assert (pinned.commit, pinned.lock_origin) == (repository.first, "resolved")
    assert pinned.pins.source_date_epoch == 1700000000, "the commit's time"
    assert pinned.pins.builder_image == IMAGE
    expected = pinned.expected_inputs()
    assert expected["builder image"] == IMAGE[-71:]
    assert expected["commit"] == expected["BUILD_INFO COMMIT"] == repository.first
    assert expected["package hello:amd64"] == f"1.0 sha256:{'0' * 64}"


def test_an_image_of_a_registry_is_expected_by_its_digest_there(repository: Repository, tmp_path: Path) -> None:
    """Its id is another number, which no pin names."""
    pinned = take(repository, tmp_path, "refs/heads/main")
    name = f"registry.example.org:5000/builder@sha256:{'c' * 64}"
    pins = pinned.pins.model_copy(update={"builder_image": name})
    expected = dataclasses.replace(pinned, pins=pins).expected_inputs()
    assert expected["builder image digest"] == f"sha256:{'c' * 64}"
    assert "builder image" not in expected


def test_an_annotated_tag_is_peeled_and_either_id_is_a_good_hint(repository: Repository) -> None:
    repository.git("tag", "-a", "-m", "one", "v1")
    tag = repository.git("rev-parse", "refs/tags/v1")
    assert tag != repository.first
    for hint in (tag, repository.first, None, ""):
        assert resolve_ref(repository.url, "refs/tags/v1", hint) == repository.first


def test_a_tag_of_a_tag_is_peeled_to_the_commit(repository: Repository) -> None:
    repository.git("tag", "-a", "-m", "one", "v1")
    repository.git("tag", "-a", "-m", "two", "v2", "v1")
    assert resolve_ref(repository.url, "refs/tags/v2", None) == repository.first


def test_a_moved_tag_is_refused(repository: Repository) -> None:
    repository.git("tag", "v1")
    second = repository.commit("second")
    repository.git("tag", "--force", "v1")
    with pytest.raises(PinningError, match=f"expected {repository.first} .*got {second}: the tag was moved"):
        resolve_ref(repository.url, "refs/tags/v1", repository.first)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("refs/tags/v9", "refs/tags/v9: expected it in .*, got no such ref; it may have been deleted"),
        ("refs/tags/", "ref: expected refs/tags/<name> or refs/heads/<name>"),
        ("refs/notes/commits", "ref: expected"),
        ("main", "ref: expected"),
        ("", "ref: expected"),
        ("--upload-pack=touch /tmp/x", "ref: expected"),
        ("refs/tags/*", "ref: expected"),
        ("refs/tags/v1 refs/heads/main", "ref: expected"),
    ],
)
def test_another_ref_is_refused(repository: Repository, ref: str, message: str) -> None:
    with pytest.raises(PinningError, match=message):
        resolve_ref(repository.url, ref, None)


@pytest.mark.parametrize("hint", ["main", "abc123", "--octopus", "A" * 40, "a" * 40 + "\n"])
@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/tags/v1"])
def test_a_hint_that_is_no_full_commit_is_refused(repository: Repository, ref: str, hint: str) -> None:
    repository.git("tag", "v1")
    with pytest.raises(PinningError, match="revision: expected a full commit"):
        resolve_ref(repository.url, ref, hint)


def test_h9_a_branch_named_like_the_tag_is_another_thing(repository: Repository) -> None:
    repository.git("branch", "v1")
    with pytest.raises(PinningError, match="got no such ref"):
        resolve_ref(repository.url, "refs/tags/v1", None)
    second = repository.commit("second")
    repository.git("tag", "v1")
    assert resolve_ref(repository.url, "refs/tags/v1", None) == second
    assert resolve_ref(repository.url, "refs/heads/v1", None) == repository.first


def test_a_repository_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(PinningError, match="git ls-remote: expected exit code 0, got 128"):
        resolve_ref(str(tmp_path / "nowhere"), "refs/tags/v1", None)


def test_a_commit_that_is_not_in_the_ref_is_refused(repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "v1")
    elsewhere = repository.commit("elsewhere")
    mirror = Mirror(tmp_path / "mirror.git", repository.url)
    mirror.fetch("refs/tags/v1", repository.first)
    for commit in (elsewhere, "d" * 40):
        with pytest.raises(PinningError, match=f"commit {commit}: expected it in refs/tags/v1"):
            mirror.fetch("refs/tags/v1", commit)


def test_an_older_commit_of_a_branch_is_read_at_that_commit(repository: Repository, tmp_path: Path) -> None:
    repository.write("config/tiny.conf", 'PACKAGES="other"\n')
    repository.commit("second")
    mirror = Mirror(tmp_path / "mirror.git", repository.url)
    mirror.fetch("refs/heads/main", repository.first)
    assert mirror.file(repository.first, "config/tiny.conf") == b'PACKAGES="hello"\n'
    assert mirror.file(repository.first, "config/none.conf") is None


@pytest.mark.parametrize("name", ["config/tiny.conf", "config/source-date-epoch.env", "config/builder-image.env"])
def test_a_missing_file_is_named_with_the_commit(repository: Repository, tmp_path: Path, name: str) -> None:
    repository.git("rm", "--quiet", name)
    commit = repository.commit("without it")
    with pytest.raises(PinningError, match=f"{name}: expected it at commit {commit}, got no such file"):
        take(repository, tmp_path, "refs/heads/main")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config/builder-image.env", "BUILDER_IMAGE=\n", "config/builder-image.env:1: BUILDER_IMAGE is not pinned"),
        ("config/builder-image.env", "BUILDER_IMAGE=debian:12\n", "builder-image.env:1: BUILDER_IMAGE is not a pin"),
        ("config/source-date-epoch.env", "SOURCE_DATE_EPOCH=now\n", "source-date-epoch.env:1: SOURCE_DATE_EPOCH"),
        ("config/tiny.conf", "X=1\n", "config/tiny.conf: PACKAGES: expected"),
        ("config/tiny.lock", "{}", "config/tiny.lock: version: expected"),
    ],
)
def test_what_is_no_pin_is_refused_before_the_lock_is_resolved(
    repository: Repository, tmp_path: Path, tools: Path, name: str, text: str, message: str
) -> None:
    repository.write(name, text)
    repository.commit("broken")
    with pytest.raises(PinningError, match=message):
        take(repository, tmp_path, "refs/heads/main")
    assert not (tools / "calls").exists()


def test_a_committed_lock_wins_while_its_files_can_be_had(repository: Repository, tmp_path: Path, tools: Path) -> None:
    committed = LOCK.replace('"1.0"', '"0.9"')
    repository.write("config/tiny.lock", committed)
    repository.commit("lock")
    pinned = take(repository, tmp_path, "refs/heads/main")
    assert (pinned.lock, pinned.lock_origin) == (committed.encode(), "committed")
    (tools / "silvermetal-fetch.fails").touch()
    pinned = take(repository, tmp_path, "refs/heads/main")
    assert (pinned.lock, pinned.lock_origin) == (LOCK.encode(), "resolved")
    assert "--architecture amd64" in (tools / "calls").read_text()


def test_a_resolver_that_fails_is_told(repository: Repository, tmp_path: Path, tools: Path) -> None:
    (tools / "silvermetal-resolve-lock.fails").touch()
    with pytest.raises(PinningError, match="silvermetal-resolve-lock --architecture: expected exit code 0, got 3"):
        take(repository, tmp_path, "refs/heads/main")


def test_no_code_of_the_tag_runs_and_the_environment_is_bare(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.delenv("GIT_DIR")
    assert output_of(["env"], timeout=10).decode().count("GIT_CONFIG_COUNT") == 0
