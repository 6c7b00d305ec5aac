"""What the demo wants of a build host, whatever it is made of.

- A host is planned before it exists: its name, its address and where its worker's directory lies are known before its
  worker is enrolled, so that the master's settings can be written while the machines start.
- The demo knows hosts by this interface alone. `netns_host` (network namespaces on this kernel) and `vm_host` (QEMU
  guests with kernels of their own) implement it; a kind is a module with the names of `HostKind`.
- `start` returns when the host's engine answers, the builder image is loaded and the worker process runs; `stop` may
  be called at any moment, also twice, also on a host whose `start` failed half-way, and leaves nothing.
- Hosts are started by several threads at once: a host shares nothing with another but what the `Workbench` gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Protocol

from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.manifest import Manifest
from silvermetal_demo.progress import Progress


@dataclass(frozen=True)
class HostPlan:
    """One host as the demo wants it. Paths are paths on this machine unless they say otherwise."""

    name: str
    """Name of the host, of its worker's host entry, and its host name: `host-a`."""
    run_name: str
    """Name of the run: part of every name that the host gives to something on this machine."""
    address: IPv4Interface
    """Its own address on the bridge, with the prefix length."""
    gateway: IPv4Address
    """The bridge's address: the way out, and where the master and the repository answer."""
    bridge: str
    mtu: int
    nameservers: tuple[str, ...]
    """What its /etc/resolv.conf should name: reachable from the bridge."""
    worker_dir: Path
    """Made by `silvermetal-worker init` before `start`: worker.toml, buildbot.tac, password, keys."""
    builder_archive: Path
    """What `docker load` reads; the same file for every host, so that the image ids agree."""
    builder_image: str
    """`sha256:<64 hex>`: the image id that the archive loads as."""
    store: Path
    """This machine's package store; a host may share it or be seeded from it."""
    run_dir: Path
    """For this host and this run alone; wiped at the end."""
    keep_dir: Path
    """For this host, kept from run to run: engine data, guest disk."""
    log_dir: Path
    """Logs that a user may want to read afterwards, `<name>-<what>.log`; copied to the output folder."""
    checkout: Path
    venv: Path


@dataclass(frozen=True)
class PathsOnHost:
    """What `silvermetal-worker init` must be told: as seen ON THE HOST."""

    store: str
    docker_host: str


@dataclass(frozen=True)
class Workbench:
    """What the demo lends to the hosts: where to say something, when to give up, where to note what must be undone."""

    progress: Progress
    interrupt: Interrupt
    manifest: Manifest


class Host(Protocol):
    name: str
    address: str
    kind: str

    def start(self) -> None:
        """Until engine answers, builder image is loaded, worker runs; SetupFailed says what did not come."""

    def alive(self) -> bool:
        """Whether the machine and its worker process still run."""

    def stop(self) -> None:
        """Idempotent; leaves nothing."""

    def fetch_artefacts(self, folder: Path) -> bool:
        """Copy what the host's newest build left (ISO, SHA256SUMS, BUILD_INFO, ...) into `folder`; False when none."""


class HostKind(Protocol):
    """The module of a kind: `silvermetal_demo.netns_host`, `silvermetal_demo.vm_host`."""

    build_deadline: int
    """Seconds that the master should give the builds on such hosts."""
    independence: int
    """The level that two such hosts can honestly reach, and that the demo's policy therefore asks for."""

    def notice(self) -> str:
        """One sentence before anything starts: what these hosts are, what that proves, how long it takes."""

    def check(self) -> None:
        """SetupFailed with what is missing on this machine and what to do, before anything is created."""

    def paths_on_host(self, plan: HostPlan) -> PathsOnHost: ...

    def create(self, plan: HostPlan, workbench: Workbench) -> Host: ...
