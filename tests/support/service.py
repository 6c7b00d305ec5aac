"""A whole service on loopback: a real master, real workers, a real Git repository, with a recipe that takes a second.

Rules:

- All is the product's own but the recipe: ``tiny`` makes a small bootable ISO, and does what a file on the worker's
  host (``behaviour`` in its store) tells it beside: that is how a test plays a host that hangs, lies or differs.
- Each worker has its own /etc/machine-id, by a mount namespace; all share one kernel: I1 is what can be reached.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.processes import Program, free_port, run, wait_until

BIN = Path(sys.executable).parent
RECIPE = "tiny"
GIT = {
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
}
BUILD_SH = r"""#!/bin/bash
# A recipe that takes a second: a real bootable ISO of a few hundred KiB. `behaviour` in the store is sourced where a
# test wants this host to misbehave.
set -eu
while [ $# -gt 0 ]; do
  case $1 in
    --recipe|--inject-host-name) shift 2 ;;
    --lock) lock=$2; shift 2 ;;
    --output) output=$2; shift 2 ;;
    --store) store=$2; shift 2 ;;
    *) echo "unknown: $1" >&2; exit 2 ;;
  esac
done
rm -rf "$output"; mkdir -p "$output"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"; cp payload "$work/tree/payload"
head -c 2048 /dev/zero > "$work/tree/boot.img"
image=$BUILDER_IMAGE extra= store=${store:-/nowhere}
before() { :; }
after() { :; }
[ ! -f "$store/behaviour" ] || . "$store/behaviour"
before
find "$work/tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
xorriso -as mkisofs -quiet -R -b boot.img -no-emul-boot -o "$output/tiny.iso" "$work/tree" </dev/null >/dev/null 2>&1
cp "$lock" "$output/packages.lock"
{ echo "COMMIT=$(git rev-parse HEAD)"; [ -z "$extra" ] || echo "EXTRA=$extra"; echo "RECIPE=tiny"
  echo "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"; } > "$output/BUILD_INFO"
: > "$output/build.log"
after
"""


@dataclass
class TinyWorker:
    """One host's worker: its directory, its store with ``behaviour``, its process."""

    host: str
    directory: Path
    store: Path
    machine_id: Path
    program: Program | None = None

    def behave(self, snippet: str) -> None:
        """Shell text that the recipe sources on this host; empty for good behaviour."""
        (self.store / "behaviour").write_text(snippet)

    def argv(self, before: str = "") -> list[str]:
        """How the worker is called; ``before`` is in front of its command (``faketime …``)."""
        call = f"{before} {BIN}/silvermetal-worker run {self.directory}".strip()
        script = f"mount --bind {self.machine_id} /etc/machine-id && exec {call}"
        return ["unshare", "--mount", "sh", "-c", script]

    def start(self, before: str = "") -> None:
        self.program = Program(self.argv(before), self.directory / "worker.log")

    def stop(self) -> None:
        if self.program is not None:
            self.program.stop()


@dataclass
class Service:
    """The service. ``folder`` holds settings (``config``), the master's folder (``master``) and the repository."""

    folder: Path
    web: int
    pb: int
    engine: str
    image: str
    recipe: str = RECIPE
    workers: dict[str, TinyWorker] = field(default_factory=dict)
    master: Program | None = None
    listens: ClassVar[str] = "127.0.0.1"
    """Where the master takes workers; hosts with a network of their own come from elsewhere than the loopback."""

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def basedir(self) -> Path:
        return self.folder / "master"

    @property
    def state(self) -> Path:
        return self.basedir / "silvermetal"

    @property
    def repository(self) -> Path:
        return self.folder / "repository.git"

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    def git(self, *argv: str, cwd: Path | None = None) -> str:
        return run(["git", *argv], cwd=cwd or self.tree, env={**os.environ, **GIT}).strip()

    def make_repository(self) -> None:
        """A bare repository whose hook tells the master, and a working tree with the tiny recipe."""
        self.tree.mkdir()
        run(["git", "init", "--quiet", "--bare", str(self.repository)])
        self.git("init", "--quiet", "--initial-branch=main")
        (self.tree / "config").mkdir()
        (self.tree / "scripts").mkdir()
        (self.tree / "config" / f"{RECIPE}.conf").write_text('PACKAGES="hello"\nISO_SIZE_FLOOR=65536\n')
        (self.tree / "config" / "builder-image.env").write_text(f"BUILDER_IMAGE={self.image}\n")
        (self.tree / "config" / "source-date-epoch.env").write_text("SOURCE_DATE_EPOCH=\n")
        (self.tree / "scripts" / "build.sh").write_text(BUILD_SH)
        (self.tree / "scripts" / "build.sh").chmod(0o755)
        (self.tree / "payload").write_text("the same everywhere\n" * 4000)
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "tiny")
        self.git("remote", "add", "origin", str(self.repository))
        self.git("push", "--quiet", "origin", "main")
        hook = self.repository / "hooks" / "post-receive"
        hook.write_text(
            f"#!/bin/sh\nexec {BIN}/silvermetal-master notify-push --url http://127.0.0.1:{self.web}/change_hook/gitea "
            f"--secret-file {self.config}/secrets/hook --repository-url {self.repository}\n"
        )
        hook.chmod(0o755)

    def write_settings(self, hosts: Sequence[str], **policy: int) -> None:
        options: dict[str, Any] = {"quorum": 2, "min-independence": 1, "deadline": 60, "build-timeout": 45}
        options |= {k.replace("_", "-"): v for k, v in policy.items()}
        argv = [f"{BIN}/silvermetal-master", "site", str(self.config), "--repository", str(self.repository)]
        argv += ["--recipe", self.recipe, "--url", f"http://127.0.0.1:{self.web}/"]
        argv += ["--web", f"tcp:{self.web}:interface=127.0.0.1", "--workers", f"tls:{self.pb}:interface={self.listens}"]
        for key, value in options.items():
            argv += [f"--{key}", str(value)]
        run(argv)
        for host in hosts:
            self.add_worker(host)

    def master_seen_by(self, host: str) -> str:
        """The master's address for ``host``."""
        return "127.0.0.1"

    def engine_of(self, host: str) -> str:
        """The address of the engine that ``host`` uses."""
        return self.engine

    def add_worker(self, host: str) -> None:
        directory, store = self.folder / host, self.folder / f"store-{host}"
        store.mkdir()
        password = secrets.token_hex(16)
        argv = [f"{BIN}/silvermetal-worker", "init", str(directory), "--name", host, "--host", host]
        argv += ["--master", f"{self.master_seen_by(host)}:{self.pb}", "--store", str(store)]
        argv += ["--docker-host", self.engine_of(host)]
        public = run(argv, input=password + "\n").strip()
        argv = [f"{BIN}/silvermetal-master", "enroll", str(self.config), host, "--public-key", public]
        argv += ["--operator", "op", "--site", "here", "--csr", str(directory / "keys" / "tls.csr")]
        run(argv, input=password + "\n")
        bundle = self.config / "tls" / "workers" / f"{host}.pem"
        run([f"{BIN}/silvermetal-worker", "admit", str(directory), str(bundle)])
        machine_id = self.folder / f"machine-id-{host}"
        machine_id.write_text(secrets.token_hex(16) + "\n")
        self.workers[host] = TinyWorker(host, directory, store, machine_id)

    def start_master(self, *before: str) -> None:
        if not (self.basedir / "buildbot.tac").exists():
            run([f"{BIN}/silvermetal-master", "init", str(self.basedir), "--config", str(self.config)], timeout=120)
        self.master = Program(
            [*before, f"{BIN}/silvermetal-master", "run", str(self.basedir)], self.folder / "master.log"
        )
        wait_until(lambda: self._answers(), "the master's web page", timeout=60, programs=[self.master])

    def _answers(self) -> bool:
        try:
            self.api("masters")
        except OSError:
            return False
        return True

    def start(self) -> None:
        self.start_master()
        for worker in self.workers.values():
            worker.start()
        self.wait_connected(*self.workers)

    def wait_connected(self, *hosts: str) -> None:
        def connected() -> bool:
            names = {w["name"] for w in self.api("workers")["workers"] if w["connected_to"]}
            return set(hosts) <= names

        programs = [w.program for w in self.workers.values() if w.program is not None and w.host in hosts]
        wait_until(connected, f"{', '.join(hosts)} connected", timeout=60, programs=programs)

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        if self.master is not None:
            self.master.stop()

    def api(self, path: str, **body: Any) -> Any:
        """Buildbot's REST interface; with a body, a control call."""
        url = f"http://127.0.0.1:{self.web}/api/v2/{path}"
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
        for last in (False, False, True):
            try:
                with urllib.request.urlopen(request, timeout=15) as answer:
                    return json.load(answer)
            except http.client.IncompleteRead:
                # Buildbot 4.3.0 closes an answer early now and then (its issue 9065); a question is asked again.
                if last or data is not None:
                    raise
        return None

    def push_tag(self, tag: str) -> str:
        """Tag the tree's head and push; return the commit."""
        self.git("tag", "-a", "-m", tag, tag)
        self.git("push", "--quiet", "origin", f"refs/tags/{tag}")
        return self.git("rev-parse", "HEAD")

    def verdict(self, tag: str, timeout: float = 90) -> Any:
        """The verdict on a tag, from the master's record."""
        from silvermetal_master.wait import wait_for

        ended = wait_for(self.basedir, f"refs/tags/{tag}", timeout)
        assert ended is not None, f"no verdict on {tag} within {timeout} s\n{self.master and self.master.tail()}"
        assert ended.verdict is not None, ended.failed
        return ended.verdict

    def builds_of(self, builder: str) -> list[dict[str, Any]]:
        """Its builds, the oldest first; a database of its own accord promises no order."""
        return sorted(self.api(f"builders/{builder}/builds")["builds"], key=lambda b: b["number"])

    def wait_idle(self, timeout: float = 60) -> None:
        """Until no buildset is left unfinished: every buildset ends."""

        def idle() -> bool:
            return not self.api("buildsets?complete=false")["buildsets"]

        wait_until(idle, "every buildset to end", timeout=timeout)


def missing_for_service() -> str | None:
    """What this machine lacks for a service, or None."""
    if os.geteuid() != 0:
        return "root (mount namespaces for the workers' machine-ids)"
    for tool in ("git", "xorriso", "unshare", "dockerd"):
        if shutil.which(tool) is None:
            return f"the program {tool}"
    return None


@contextlib.contextmanager
def service(
    folder: Path,
    engine: str,
    image: str,
    hosts: Sequence[str],
    before_start: Callable[[Service], None] = lambda _service: None,
    **policy: int,
) -> Iterator[Service]:
    """A running service with these hosts; ended at the end. ``before_start`` may change its settings."""
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Service(folder, free_port(), free_port(), engine, image)
    running.write_settings(hosts, **policy)
    running.make_repository()
    before_start(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()
