"""What build.sh refuses before anything starts: each refusal says got, expected and what to do, with its exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DIGEST = "sha256:" + "a" * 64
ENGINE = """#!/bin/sh
echo "$@" >>"$0.calls"
case "$1" in
    version) exit {version} ;;
    image) [ {image} = 0 ] && echo sha256:aaaa; exit {image} ;;
esac
exit 9
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone with one commit, and an engine that has no image."""
    target = tmp_path / "checkout"
    for name in ("scripts", "config"):
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "x", "--date", "2026-01-02T03:04:05Z")):
        subprocess.run(("git", "-C", target, *command), check=True, timeout=30)
    engine(tmp_path)
    return target


def engine(folder: Path, version: int = 0, image: int = 1) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    script = folder / "bin/docker"
    script.write_text(ENGINE.format(version=version, image=image))
    script.chmod(0o755)


def run(checkout: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("BUILDER_IMAGE", "SOURCE_DATE_EPOCH", "CONTAINER_ENGINE")}
    answer = subprocess.run(
        (checkout / "scripts/build.sh", "--store", str(checkout.parent / "store"), *arguments),
        env={**clean, "PATH": f"{checkout.parent}/bin:{os.environ['PATH']}", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return answer.returncode, answer.stderr


@pytest.mark.parametrize(
    "image",
    [
        "debian:bookworm",
        "registry.example/builder:latest",
        "builder",
        "builder@sha256:abc",
        f"builder@{DIGEST.upper()}",
        f"{DIGEST} --privileged",
        "sha256:" + "g" * 64,
    ],
)
def test_an_image_that_is_not_a_digest(checkout: Path, image: str) -> None:
    code, said = run(checkout, BUILDER_IMAGE=image)
    assert code == 4
    assert f"got '{image}'" in said
    assert "expected name@sha256:<64 hex> or sha256:<64 hex>" in said
    assert "docker image inspect --format '{{index .RepoDigests 0}} {{.Id}}'" in said
    assert not (checkout.parent / "bin/docker.calls").exists()


def test_an_image_that_is_not_pinned_yet(checkout: Path) -> None:
    (checkout / "config/builder-image.env").write_text("# nothing\nBUILDER_IMAGE=\n")
    code, said = run(checkout)
    assert code == 4
    assert "scripts/bootstrap-builder.sh --load --pin" in said


def test_the_pin_of_the_commit_is_read(checkout: Path) -> None:
    (checkout / "config/builder-image.env").write_text(f"BUILDER_IMAGE={DIGEST}\n")
    code, said = run(checkout)
    assert code == 5
    assert f"the builder image {DIGEST} is not on this host" in said


@pytest.mark.parametrize("epoch", ["yesterday", "0", "315532799", "-1", "99999999999", "1; reboot"])
def test_a_date_that_no_image_can_hold(checkout: Path, epoch: str) -> None:
    code, said = run(checkout, BUILDER_IMAGE=DIGEST, SOURCE_DATE_EPOCH=epoch)
    assert code == 4
    assert f"SOURCE_DATE_EPOCH: got '{epoch}', expected seconds" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "../../etc"), "--recipe: got '../../etc', expected one of: minimal-live"),
        (("--recipe", "nothing"), "--recipe: got 'nothing'"),
        (("--jobs", "0"), "--jobs: got '0', expected a number"),
        (("--lock", "/nonexistent"), "--lock: '/nonexistent' cannot be read"),
        (("--inject-host-name", "etc/x"), "--inject-host-name: got 'etc/x', expected a file's absolute path"),
        (("--inject-host-name", "/etc/../../x"), "expected a file's absolute path"),
        (("--output",), "--output: got nothing, expected a value"),
        (("--push",), "got the argument '--push'"),
    ],
)
def test_a_wrong_call(checkout: Path, arguments: tuple[str, ...], words: str) -> None:
    code, said = run(checkout, *arguments, BUILDER_IMAGE=DIGEST)
    assert code == 2
    assert words in said


def test_an_engine_that_does_not_answer(checkout: Path) -> None:
    engine(checkout.parent, version=1)
    code, said = run(checkout, BUILDER_IMAGE=DIGEST)
    assert code == 5
    assert "the engine does not answer" in said


def test_an_engine_that_is_none(checkout: Path) -> None:
    code, said = run(checkout, BUILDER_IMAGE=DIGEST, CONTAINER_ENGINE="lxc")
    assert code == 2
    assert "got 'lxc', expected docker or podman" in said


def test_a_folder_without_commit(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    code, said = run(checkout, BUILDER_IMAGE=DIGEST, GIT_CEILING_DIRECTORIES=str(checkout.parent))
    assert code == 4
    assert "expected a clone" in said


def test_a_lock_that_is_none(checkout: Path, tmp_path: Path) -> None:
    engine(checkout.parent, image=0)
    lock = tmp_path / "lock"
    lock.write_text("{}")
    code, said = run(checkout, "--lock", str(lock), BUILDER_IMAGE=DIGEST)
    assert code == 3
    assert "is no package lock" in said
    assert not (checkout / "output").exists() or not list((checkout / "output").iterdir())
