"""The demo's release (--release): a stand-in for Gitea, what the master publishes on it, and the outsider's check.

- The stand-in is `tests/fakes/gitea` of this checkout, on this machine's loopback; every line that names it says that
  it is one. Nothing is published anywhere else.
- The check is `silvermetal verify-release` with the keys of the verdict's folder, as a person would have them from
  elsewhere; its answer is printed as it is.
"""

from __future__ import annotations

import secrets
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path

from silvermetal_demo.cell import Cell
from silvermetal_demo.command import Output
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import Workbench
from silvermetal_demo.master import ORIGIN, Master

OWNER, REPOSITORY = "demo", "silvermetal"
PUBLISH_SECONDS = 900
CHECK_SECONDS = 300


@dataclass(frozen=True)
class Published:
    url: str
    check: Output
    command: str
    """How anybody checks the files that stay."""


class Release:
    def __init__(self, folder: Path, checkout: Path, venv: Path, cell: Cell, environment: dict[str, str]) -> None:
        self._checkout = checkout
        self._venv = venv
        self._cell = cell
        # What is asked answers on this machine: no proxy has business there.
        self._environment = environment | {"no_proxy": "*", "NO_PROXY": "*"}
        self._token = folder / "gitea-token"
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self, master: Master, receive: str, log: Path, bench: Workbench) -> None:
        """The stand-in runs, and the master's settings name it. Before the master starts."""
        token = secrets.token_hex(20)
        self._token.touch(mode=0o600)
        self._token.write_text(f"{token}\n")
        command: list[str | Path] = [self._venv / "bin" / "python", "-m", "tests.fakes.gitea"]
        part = self._cell.spawn(
            "the stand-in for Gitea",
            [*command, str(self._port), self._token],
            log=log,
            cwd=self._checkout,
            env=self._environment,
        )

        def answers() -> bool:
            part.require()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._port)) == 0

        bench.interrupt.wait_until(answers, timeout=30, what="the stand-in for Gitea does not answer")
        master.publish_on(self.url, OWNER, REPOSITORY, receive=receive, token=token)
        bench.progress.say(
            f"a stand-in for Gitea answers at {self.url}: releases are published there, for this run alone"
        )

    def check(self, master: Master, tag: str, output: Path, level: int, bench: Workbench) -> Published:
        """Wait until the tag is published, and check it as an outsider. SetupFailed when it is not published."""
        url = self._published(master, bench)
        bench.progress.say(f"published on the stand-in: {url}")
        keys, release, state = output / "keys", folder_of(output), self._token.with_name("seen")
        key = (master.config / "master.pub").read_text(encoding="ascii").strip()
        trusted = ["--master-key", key, "--origin", ORIGIN, "--min-independence", str(level)]
        argv = [str(self._venv / "bin" / "silvermetal"), "verify-release"]
        where = ["--into", str(release), "--state", str(state)]
        done = self._cell.run(
            [*argv, url, "--keys", str(keys), *trusted, *where],
            timeout=CHECK_SECONDS,
            env=self._environment,
            expected=range(256),
        )
        kept = [str(path.relative_to(self._checkout)) for path in (release, keys)]
        program = ".venv/bin/silvermetal" if self._venv == self._checkout / ".venv" else argv[0]
        return Published(url, done, shlex.join([program, "verify-release", kept[0], "--keys", kept[1], *trusted]))

    def _published(self, master: Master, bench: Workbench) -> str:
        said = ""
        for _ in range(int(PUBLISH_SECONDS / 0.3)):
            publication = master.publication()
            if publication.failed:
                raise SetupFailed(f"the release was not published: {publication.failed}; its log is among the results")
            if publication.url:
                return publication.url
            if publication.doing and publication.doing != said:
                said = publication.doing
                bench.progress.say(said, who="publish")
            bench.interrupt.sleep(0.3)
        raise SetupFailed(f"the release was not published within {PUBLISH_SECONDS} s")


def folder_of(output: Path) -> Path:
    """Where the release stays, as anybody fetches it: beside the verdict's folder, which is checked as a whole."""
    return output.with_name(f"{output.name}-release")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
