"""The demo's master: its settings, its process, and what is asked of it. The only module that knows the master's
commands.

- The master answers on the demo's own address alone; its secrets are new in each run and lie in the run's folder.
- Ready means: its web server answers, and every worker is connected, as the master itself reports.
"""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from silvermetal_master.authority import worker_file
from silvermetal_master.secret_files import write_secret
from silvermetal_master.site import enrol, write_site

from silvermetal_demo.cell import Cell, Part
from silvermetal_demo.command import Output
from silvermetal_demo.hosts import HostKind, HostPlan, PathsOnHost
from silvermetal_demo.interrupt import Interrupt

# Buildbot's numbers for results; everything else is no good end.
SUCCESS, WARNINGS, RETRY = 0, 1, 5
ORIGIN = "silvermetal/demo"
LOG_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Ports:
    workers: int
    web: int


@dataclass(frozen=True)
class Publication:
    """How far the release is: one of the three is said."""

    url: str = ""
    failed: str = ""
    doing: str = ""


class Master:
    def __init__(
        self, folder: Path, venv: Path, address: str, ports: Ports, cell: Cell, environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.config = folder / "config"
        self.address = address
        self.ports = ports
        self.url = f"http://{address}:{ports.web}/"
        self._command = venv / "bin" / "silvermetal-master"
        self._cell = cell
        self._environment = dict(environment)
        self._process: Part | None = None

    def configure(self, repository_url: str, recipe: str, kind: HostKind) -> None:
        """The settings of an installation: what `silvermetal-master site` writes."""
        write_site(
            self.config,
            repository=repository_url,
            recipe=recipe,
            url=self.url,
            web=f"tcp:{self.ports.web}:interface={self.address}",
            workers=f"tls:{self.ports.workers}:interface={self.address}",
            origin=ORIGIN,
            quorum=2,
            min_independence=kind.independence,
            deadline=kind.build_deadline,
            build_timeout=kind.build_deadline - 60,
        )

    def publish_on(self, url: str, owner: str, repository: str, *, receive: str, token: str) -> None:
        """Where reproduced tags are released. Before the start."""
        table = {"url": url, "owner": owner, "repository": repository, "receive": receive}
        lines = "".join(f'{name} = "{value}"\n' for name, value in table.items())
        settings = self.config / "master.toml"
        settings.write_text(f"{settings.read_text(encoding='utf-8')}\n[gitea]\n{lines}", encoding="utf-8")
        write_secret(self.config / "secrets" / "gitea-token", token.encode())

    def publication(self) -> Publication:
        """How far the builder `publish` is with the newest release."""
        builds = (self._get("builders/publish/builds?order=-number&limit=1") or {}).get("builds", [])
        if not builds or builds[0]["results"] == RETRY:
            return Publication()
        steps = (self._get(f"builds/{builds[0]['buildid']}/steps") or {}).get("steps", [])
        urls = [url["url"] for step in steps for url in step["urls"] if url["name"] == "release"]
        if not builds[0]["complete"]:
            running = [step["state_string"] for step in steps if step["started_at"] and not step["complete"]]
            return Publication(doing=running[-1] if running and running[-1] != "pending" else "")
        if builds[0]["results"] == SUCCESS and urls:
            return Publication(url=urls[0])
        bad = [step["state_string"] for step in steps if step["results"] not in (SUCCESS, WARNINGS, None)]
        return Publication(failed="; ".join(bad) or "publish ended without a release")

    def enrol(self, plan: HostPlan, paths: PathsOnHost, inject_host_name: str | None) -> None:
        """Make the worker's directory, with a key of its own, and enter its host into the settings."""
        password = secrets.token_urlsafe(32)
        arguments: list[str | Path] = [plan.venv / "bin" / "silvermetal-worker", "init", plan.worker_dir]
        arguments += ["--name", plan.name, "--host", plan.name, "--master", f"{self.address}:{self.ports.workers}"]
        arguments += ["--store", paths.store, "--docker-host", paths.docker_host]
        if inject_host_name is not None:
            arguments += ["--inject-host-name", inject_host_name]
        done = self._cell.run(arguments, timeout=60, env=self._environment, input_text=f"{password}\n")
        enrol(
            self.config,
            host=plan.name,
            worker=plan.name,
            public_key=done.out.strip(),
            operator="demo",
            site="this-machine",
            password=password,
            now=datetime.now(UTC),
            request=(plan.worker_dir / "keys" / "tls.csr").read_bytes(),
        )
        admit: list[str | Path] = [plan.venv / "bin" / "silvermetal-worker", "admit", plan.worker_dir]
        self._cell.run([*admit, worker_file(self.config, plan.name)], timeout=60, env=self._environment)

    def notify_command(self, repository_url: str) -> list[str]:
        """What the repository's hook runs."""
        arguments = [str(self._command), "notify-push", "--url", f"{self.url}change_hook/gitea"]
        arguments += ["--secret-file", str(self.config / "secrets" / "hook"), "--repository-url", repository_url]
        return arguments

    def start(self, log: Path) -> None:
        self._cell.run([self._command, "init", self.base, "--config", self.config], timeout=120, env=self._environment)
        self._process = self._cell.spawn(
            "the master", [self._command, "run", self.base], log=log, env=self._environment
        )

    def require(self) -> None:
        """SetupFailed when the process has ended."""
        if self._process is not None:
            self._process.require()

    def wait_until_ready(self, interrupt: Interrupt) -> None:
        interrupt.wait_until(lambda: self._get("masters") is not None, timeout=120, what="the master does not answer")

    def connected(self) -> set[str]:
        """Names of the workers that are connected now."""
        answer = self._get("workers") or {}
        return {worker["name"] for worker in answer.get("workers", []) if worker["connected_to"]}

    def activity(self) -> dict[str, str]:
        """What each builder is doing now, in the words of its running step."""
        builders = {b["builderid"]: b["name"] for b in (self._get("builders") or {}).get("builders", [])}
        found = {}
        for build in (self._get("builds?complete=false") or {}).get("builds", []):
            steps = (self._get(f"builds/{build['buildid']}/steps") or {}).get("steps", [])
            running = [step["state_string"] for step in steps if step["started_at"] and not step["complete"]]
            # "pending" is Buildbot's word for a step that has not yet said anything of itself.
            if running and running[-1] != "pending" and build["builderid"] in builders:
                found[builders[build["builderid"]]] = running[-1]
        return found

    def copy_step_logs(self, folder: Path) -> None:
        """What every step wrote, a file a step: `<builder>-<number>-<step>.log`, FAILED in its name where it did."""
        builders = {b["builderid"]: b["name"] for b in (self._get("builders") or {}).get("builders", [])}
        for build in (self._get("builds") or {}).get("builds", []):
            name = builders.get(build["builderid"], "unknown")
            for step in (self._get(f"builds/{build['buildid']}/steps") or {}).get("steps", []):
                ended = "" if step["results"] in (SUCCESS, WARNINGS) else "-FAILED"
                for log in (self._get(f"steps/{step['stepid']}/logs") or {}).get("logs", []):
                    text = self._read(f"logs/{log['logid']}/raw_inline")
                    if text:
                        (folder / f"{name}-{step['number']:02d}-{step['name']}{ended}.{log['slug']}.log").write_bytes(
                            text
                        )

    def _get(self, what: str) -> dict[str, Any] | None:
        self.require()
        answer = self._read(what)
        try:
            found: dict[str, Any] | None = json.loads(answer) if answer else None
        except ValueError:
            return None
        return found

    def _read(self, what: str) -> bytes | None:
        # No proxy: the address is this machine's own.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}api/v2/{what}", timeout=5) as answer:
                return bytes(answer.read(LOG_BYTES))
        except OSError:
            return None

    def wait_for_verdict(self, ref: str, timeout: int, output: Path) -> Output:
        arguments: list[str | Path] = [self._command, "wait", self.base, "--ref", ref, "--timeout", str(timeout)]
        arguments += ["--copy-to", output]
        return self._cell.run(arguments, timeout=timeout + 60, env=self._environment, expected=(0, 1, 3))
