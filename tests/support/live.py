"""Builds of minimal-live for tests: checkouts, one reference build a session, and the builder image.

What is tested is the working tree: it is committed into a repository of the test's own, from which every build clones.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.engine import Engine, engine

ROOT = Path(__file__).parents[2]
WHAT_BUILDS = ("config", "docker", "scripts")
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"} | {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"), ("DATE", "2026-01-02T03:04:05Z"))
}


def git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ("git", "-C", folder, *arguments), env={**os.environ, **GIT}, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@dataclass(frozen=True)
class Build:
    """What one build left."""

    output: Path
    printed: str

    @property
    def iso(self) -> Path:
        return next(self.output.glob("*.iso"))

    @property
    def info(self) -> str:
        return (self.output / "BUILD_INFO").read_text()

    @property
    def sha256(self) -> str:
        with self.iso.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Workshop:
    """All that builds of a session share."""

    origin: Path
    lock: Path
    store: Path
    image: str
    engine: Engine
    folder: Path
    made: list[str] = field(default_factory=list)

    def checkout(self, name: str, umask: int = 0o022) -> Path:
        target = self.folder / name / "checkout"
        subprocess.run(
            ("git", "clone", "--quiet", self.origin, target),
            check=True,
            umask=umask,
            env={**os.environ, **GIT},
            timeout=60,
        )
        return target

    def run(
        self,
        checkout: Path,
        *options: str,
        prefix: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        umask: int = 0o022,
        store: Path | None = None,
        engine: Engine | None = None,
    ) -> subprocess.CompletedProcess[str]:
        command = (
            *prefix,
            str(checkout / "scripts/build.sh"),
            "--lock",
            str(self.lock),
            "--store",
            str(store or self.store),
        )
        clean = {
            key: value for key, value in os.environ.items() if key not in ("SOURCE_DATE_EPOCH", "CONTAINER_ENGINE")
        }
        return subprocess.run(
            (*command, "--output", str(checkout.parent / "output"), *options),
            env={
                **clean,
                "DOCKER_HOST": (engine or self.engine).url,
                "BUILDER_IMAGE": self.image,
                **(environment or {}),
            },
            cwd=checkout,
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )

    def build(self, name: str, *options: str, clone_umask: int = 0o022, **how: object) -> Build:
        checkout = self.checkout(name, clone_umask)
        answer = self.run(checkout, *options, **how)  # type: ignore[arg-type]
        assert answer.returncode == 0, f"build.sh ended with {answer.returncode}:\n{answer.stdout[-3000:]}"
        return Build(checkout.parent / "output", answer.stdout)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    for tool in ("mmdebstrap", "git", "apt-get"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("the builder image's bootstrap is tested as root")
    folder = tmp_path_factory.mktemp("live")
    origin = folder / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch=main")
    for name in WHAT_BUILDS:
        shutil.copytree(ROOT / name, origin / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (origin / ".gitignore").write_text("/output/\n")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "What is tested")
    with engine() as ready:
        made = subprocess.run(
            (origin / "scripts/bootstrap-builder.sh", "--load"),
            env=ready.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert made.returncode == 0, made.stderr[-3000:]
        conf = (origin / "config/minimal-live.conf").read_text()
        packages = next(line.partition("=")[2].strip('"') for line in conf.splitlines() if line.startswith("PACKAGES="))
        lock = folder / "packages.lock"
        resolved = subprocess.run(
            (origin / "scripts/silvermetal-resolve-lock", "--package", packages, "-o", lock), timeout=120
        )
        assert resolved.returncode == 0
        yield Workshop(origin, lock, folder / "store", made.stdout.strip(), ready, folder)


@pytest.fixture(scope="session")
def reference(workshop: Workshop) -> Build:
    """The build that every other one is compared with."""
    return workshop.build("reference", "--jobs", "2")
