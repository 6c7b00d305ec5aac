"""An isolated host on this machine's kernel: own network, processes, mounts, host name, machine-id, engine and worker.

- What it is not: another machine. It shares the kernel (one boot-id), so the verdict can call two of them I1 at most.
- Its /run is its own and empty: no engine socket of this machine can be reached by accident, and the engine's own
  socket lies at the usual place, as on any host. Only its engine's data lasts from run to run, so that the builder
  image stays loaded.
- The engine and everything that it starts live in the host's cell and end with it; its control groups are under one
  name that the manifest holds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from pathlib import Path

from silvermetal_demo.cell import Cell, Isolation, Part
from silvermetal_demo.command import run
from silvermetal_demo.environment import plain_environment
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, PathsOnHost, Workbench
from silvermetal_demo.network import attach

SOCKET = "/run/docker.sock"
DOCKER_HOST = f"unix://{SOCKET}"

build_deadline = 900
independence = 1


def notice() -> str:
    return "two isolated hosts in network namespaces on this one kernel: the verdict can reach level I1 and no better"


def check() -> None:
    if os.geteuid() != 0:
        raise SetupFailed(
            "got a plain user, expected root, for network namespaces and bridges; try: sudo scripts/demo.sh"
        )
    for path in ("/run/", "/var/run/"):
        here = str(Path(__file__).resolve())
        if here.startswith(path):
            raise SetupFailed(f"got a checkout below {path}, expected it elsewhere: each host has a {path} of its own")


def paths_on_host(plan: HostPlan) -> PathsOnHost:
    return PathsOnHost(store=str(plan.store), docker_host=DOCKER_HOST)


class NetnsHost:
    kind = "netns"

    def __init__(self, plan: HostPlan, workbench: Workbench) -> None:
        self.name = plan.name
        self.address = str(plan.address.ip)
        self._plan = plan
        self._bench = workbench
        self._cell = Cell(plan.name, self._isolation(), workbench.manifest, workbench.interrupt)
        self._cgroup = f"silvermetal-{plan.run_name}-{plan.name}"
        self._engine: Part | None = None
        self._worker: Part | None = None

    def _isolation(self) -> Isolation:
        """Its own copy of /etc, so that nothing that runs on it writes into this machine's (an engine's key, say)."""
        own_etc = {"/etc": str(self._plan.run_dir / "etc")}
        return Isolation(network=True, host_name=self.name, covers=own_etc, empty=("/run",))

    def _write_etc(self) -> None:
        plan = self._plan
        etc = plan.run_dir / "etc"
        run(["cp", "--archive", "/etc/.", etc], timeout=60, interrupt=self._bench.interrupt)
        # The same in every run: it is this host's identity.
        identity = hashlib.sha256(f"silvermetal demo {_machine_id()} {plan.name}".encode()).hexdigest()[:32]
        hosts = (etc / "hosts").read_text() if (etc / "hosts").exists() else "127.0.0.1 localhost\n"
        for name, text in {
            "machine-id": f"{identity}\n",
            "hostname": f"{plan.name}\n",
            "hosts": f"{hosts.rstrip()}\n{plan.address.ip} {plan.name}\n",
            "resolv.conf": "".join(f"nameserver {server}\n" for server in plan.nameservers),
        }.items():
            # Each may be a link into a folder that the host does not have, or be write-protected.
            (etc / name).unlink(missing_ok=True)
            (etc / name).write_text(text)

    def start(self) -> None:
        bench, plan = self._bench, self._plan
        self._write_etc()
        self._cell.start()
        attach(self._cell, plan, bench.manifest)
        self._start_engine()
        bench.progress.say(f"host is up at {self.address}, its engine answers", who=self.name)
        self._provide_image()
        self._worker = self._cell.spawn(
            f"worker of {self.name}",
            [plan.venv / "bin" / "silvermetal-worker", "run", plan.worker_dir],
            log=plan.log_dir / f"{self.name}-worker.log",
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        home = self._plan.run_dir / "home"
        temporary = self._plan.run_dir / "tmp"
        for folder in (home, temporary):
            folder.mkdir(exist_ok=True)
        return plain_environment(self._plan.venv, home) | {"DOCKER_HOST": DOCKER_HOST, "TMPDIR": str(temporary)}

    def _start_engine(self) -> None:
        plan = self._plan
        data = plan.keep_dir / "engine"
        data.mkdir(parents=True, exist_ok=True)
        # The machine's own daemon.json is for the machine's own engine, and would quarrel with our flags.
        settings = plan.run_dir / "daemon.json"
        settings.write_text("{}\n")
        self._bench.manifest.cgroup(self._cgroup)
        command: list[str | Path] = ["dockerd", "--config-file", settings, "--data-root", data, "--host", DOCKER_HOST]
        # Not systemd's driver: this host has its own /run, where no systemd answers.
        command += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self._cgroup}"]
        # Containers of a build have nothing to save; the default of 15 s is a long wait after Ctrl-C.
        command += ["--shutdown-timeout", "1"]
        self._engine = self._cell.spawn(
            f"engine of {self.name}",
            command,
            log=plan.log_dir / f"{self.name}-engine.log",
            env=self._environment(),
        )
        silent = f"the engine of {self.name} does not answer; its log: {self._engine.log}"
        self._bench.interrupt.wait_until(self._engine_answers, timeout=60, what=silent)

    def _engine_answers(self) -> bool:
        assert self._engine is not None
        self._engine.require()
        # The host's /run as seen from here.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            try:
                probe.connect(f"/proc/{self._cell.pid}/root{SOCKET}")
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in probe.recv(64)
            except OSError:
                return False

    def _docker(self, *arguments: str, timeout: float = 60, expected: tuple[int, ...] = (0,)) -> tuple[int, str]:
        done = self._cell.run(["docker", *arguments], timeout=timeout, env=self._environment(), expected=expected)
        return done.code, done.out

    def _provide_image(self) -> None:
        plan = self._plan
        # A killed run may have left a container in the engine's data; nothing else has business there.
        if stale := self._docker("ps", "--all", "--quiet")[1].split():
            self._docker("rm", "--force", *stale)
        if self._has_image():
            return
        # The data is kept for the image alone: older ones go before they fill the disk.
        if old := set(self._docker("image", "ls", "--quiet", "--no-trunc")[1].split()):
            self._docker("image", "rm", "--force", *old, timeout=300)
        self._docker("load", "--quiet", "--input", str(plan.builder_archive), timeout=600)
        if not self._has_image():
            raise SetupFailed(
                f"got another image than {plan.builder_image} from {plan.builder_archive} on {self.name}; "
                f"remove that file and run again"
            )
        self._bench.progress.say("builder image loaded", who=self.name)

    def _has_image(self) -> bool:
        code, _ = self._docker("image", "inspect", "--format", "{{.Id}}", self._plan.builder_image, expected=(0, 1))
        return code == 0

    def alive(self) -> bool:
        parts = (self._engine, self._worker)
        return self._cell.alive() and all(part is not None and part.alive() for part in parts)

    def stop(self) -> None:
        self._cell.stop()

    def fetch_artefacts(self, folder: Path) -> bool:
        builds = sorted(
            (self._plan.worker_dir / "artefacts").glob("*/SHA256SUMS"), key=lambda path: path.stat().st_mtime
        )
        if not builds:
            return False
        shutil.copytree(builds[-1].parent, folder, dirs_exist_ok=True)
        return True


def create(plan: HostPlan, workbench: Workbench) -> NetnsHost:
    return NetnsHost(plan, workbench)


def _machine_id() -> str:
    path = Path("/etc/machine-id")
    return path.read_text().strip() if path.exists() else run(["hostname"], timeout=10).out.strip()
