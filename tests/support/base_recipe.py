"""Builds of silvermetal-base with the stand-in, by ``scripts/build.sh`` in a real container, and its builder image."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.engine import Engine
from tests.support.live import GIT
from tests.support.program_image import program_image
from tests.support.upstream import ARCHIVE, ROOT, SNAPSHOT, STAND_IN, Signer, Upstream, add_submodule, conf_for

RECIPE = "silvermetal-base"
PROGRAMS = [
    "bash",
    "sh",
    "env",
    "cat",
    "cp",
    "ls",
    "rm",
    "mkdir",
    "chown",
    "chmod",
    "install",
    "stat",
    "date",
    "head",
    "tail",
    "tr",
    "sed",
    "grep",
    "cut",
    "find",
    "sort",
    "sleep",
    "touch",
    "id",
    "tee",
    "dirname",
    "basename",
    "readlink",
    "mktemp",
    "true",
    "test",
    "printf",
    "sha256sum",
    "setpriv",
    "git",
    "xorriso",
    "mksquashfs",
    "getent",
    "systemd-socket-activate",
    "mount",
    "umount",
    "uname",
]
STUBS = ["curl", "dpkg-parsechangelog", "fakeroot", "lsb_release", "safe-rm", "sq", "sq-git", "sqv"]
APPROX = """#!/bin/bash
# A stand-in for approx, as far as somebody connects: it says which configuration it was given.
read -r line || true
printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s\\n' "$*"
"""
PASSWD = "root:x:0:0::/root:/bin/bash\napprox:x:101:102::/var/cache/approx:/bin/false\nuser:x:1000:1000::/home/user:/bin/bash\n"
# The stand-in of sudo has no rights of its own, and reads its settings by being in root's group.
GROUP = "root:x:0:user\napprox:x:102:\nuser:x:1000:\n"


def builder_image(**changes: str) -> tuple[str, bytes]:
    """The image's id and archive. ``changes``: ``codename``, ``passwd``, ``without`` (a program that is left out)."""
    stub = ("#!/bin/sh\nexit 0\n", 0o755)
    without = changes.get("without", "").split()
    texts = {f"usr/bin/{name}": stub for name in STUBS if name not in without}
    texts |= {
        "usr/bin/sudo": ((STAND_IN / "sudo").read_text(), 0o755),
        "usr/bin/reprepro": stub,
        "usr/sbin/approx": (APPROX, 0o755),
        "etc/os-release": (f"VERSION_CODENAME={changes.get('codename', 'trixie')}\n", 0o644),
        "etc/passwd": (changes.get("passwd", PASSWD), 0o644),
        "etc/group": (GROUP, 0o644),
        "etc/nsswitch.conf": ("passwd: files\ngroup: files\n", 0o644),
        "etc/sudoers.d/README": ("", 0o440),
        "usr/local/bin/.keep": ("", 0o644),
        "var/cache/approx/.keep": ("", 0o644),
    }
    return program_image([p for p in PROGRAMS if p not in without], texts)


def load(engine: Engine, image: tuple[str, bytes]) -> str:
    """Load an image; return its id."""
    subprocess.run(["docker", "-H", engine.url, "load"], input=image[1], check=True, capture_output=True, timeout=120)
    return image[0]


@dataclass
class Answer:
    """How one build ended."""

    code: int
    said: str
    output: Path

    @property
    def info(self) -> dict[str, str]:
        lines = (self.output / "BUILD_INFO").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def iso(self) -> Path:
        return next(self.output.glob("*.iso"))

    def levers(self) -> dict[str, str]:
        """What the stand-in says in its image of what arrived."""
        target = self.output / "levers"
        subprocess.run(
            ["osirrox", "-indev", str(self.iso), "-extract", "/levers", str(target)],
            check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        lines = target.read_text().splitlines()
        target.unlink()
        return {key: value.strip() for key, _, value in (line.partition(" ") for line in lines)}


class Bench:
    """A repository with the recipe and the stand-in as its submodule, and an engine with the builder image."""

    def __init__(self, folder: Path, engine: Engine, image: str, signer: Signer) -> None:
        self.folder, self.engine, self.image = folder, engine, image
        self.upstream = Upstream(folder / "upstream", signer)
        self.tree = folder / "tree"
        self.conf = conf_for(signer)
        lay_out(self.tree, self.conf)
        self.git("init", "--quiet", "--initial-branch=main")
        self.builds = 0
        self.commit()

    def git(self, *argv: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *argv],
            cwd=cwd or self.tree, env={**os.environ, **GIT}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"git {argv}: {done.stderr}"
        return done.stdout.strip()

    def commit(self) -> None:
        """Commit what is in the tree, with the gitlink where upstream is now."""
        self.git("add", "--all")
        add_submodule(self.tree, self.upstream)
        self.git("commit", "--quiet", "--allow-empty", "-m", "what is tested")

    def checkout(self) -> Path:
        self.builds += 1
        target = self.folder / f"build-{self.builds}" / "checkout"
        self.git("clone", "--quiet", str(self.tree), str(target), cwd=self.folder)
        self.git("submodule", "--quiet", "update", "--init", "--recursive", cwd=target)
        return target

    def build(
        self,
        *options: str,
        image: str | None = None,
        timeout: int = 60,
        before: Callable[[Path], None] | None = None,
        mark: tuple[str, Callable[[subprocess.Popen[str]], None]] | None = None,
        **environment: str,
    ) -> Answer:
        """One build from a fresh checkout, which ``before`` may change. ``mark``: called when a line holds the word."""
        place = self.checkout()
        if before is not None:
            before(place)
        output = place.parent / "output"
        script = [str(place / "scripts/build.sh"), "--recipe", RECIPE, "--output", str(output)]
        clean = {k: v for k, v in os.environ.items() if k not in ("SOURCE_DATE_EPOCH", "CONTAINER_ENGINE")}
        process = subprocess.Popen(
            [*script, "--store", str(self.folder / "store"), *options],
            env={
                **clean, "DOCKER_HOST": self.engine.url, "BUILDER_IMAGE": image or self.image,
                "SILVERMETAL_SNAPSHOTS": ARCHIVE, "SILVERMETAL_NETWORK": "none",
                "SILVERMETAL_BUILD_TIMEOUT": str(timeout), **environment,
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place,
        )  # fmt: skip
        said = []
        watchdog = threading.Timer(timeout + 120, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if mark is not None and mark[0] in line:
                    mark[1](process)
                    mark = None
            code = process.wait()
        finally:
            watchdog.cancel()
        return Answer(code, "".join(said), output)

    def leftovers(self) -> list[str]:
        """Containers, volumes but the cache's, and folders beside the checkouts that a build did not clean."""
        ids = self.engine.docker("ps", "--all", "--quiet", "--filter", "label=silvermetal.build").stdout.split()
        volumes = self.engine.docker("volume", "ls", "--quiet").stdout.split()
        left = [v for v in volumes if v != "silvermetal-apt-cache"]
        folders = [
            str(path) for one in self.folder.glob("build-*") for path in one.iterdir()
            if path.name not in ("checkout", "output")
        ]  # fmt: skip
        return ids + left + folders


def lay_out(tree: Path, conf: str) -> None:
    """The recipe's part of this checkout, with the test's own settings."""
    shutil.copytree(ROOT / "scripts", tree / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    proof = Path("proof", "silvermetal_proof")
    shutil.copytree(ROOT / proof, tree / proof, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "config").mkdir()
    (tree / "config" / f"{RECIPE}.conf").write_text(conf)
    (tree / "config" / "snapshot-pin.env").write_bytes(SNAPSHOT)
    (tree / "config" / "builder-image.env").write_text("BUILDER_IMAGE=\n")
    (tree / "config" / "source-date-epoch.env").write_text("SOURCE_DATE_EPOCH=\n")
