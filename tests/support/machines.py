"""Hosts that pass for machines of their own: own network and address, machine-id, boot-id, DMI identity, engine.

All of this is forged, by who has root on the one kernel below: the trust model says that software evidence can be
(docs/trust-model.md), and these hosts are how a test shows which level such a forger reaches, and which words of whom
else (an operator's signature) stop him.

Rules:

- A host lives in a mount and a network namespace, which end with its worker: its link and its firewall go with it.
- Its engine is a dockerd of its own: an engine says its id, which none of the files below has a say in.
- The master, its settings and the operators' signatures are the product's own, made by its commands.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import PublicKey
from silvermetal_proof.verdict import Verdict, verify_verdict

from tests.support.engine import private_engine
from tests.support.hostile import ORIGIN, commit_lock
from tests.support.images import empty_image
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, TinyWorker, missing_for_service

# Engines before 25 keep their id in /etc/docker/key.json, one for all of a machine.
OWN_ENGINE_ID = "mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker"
ENTER = """set -e
mount --bind "$1/machine-id" /etc/machine-id
mount --bind "$1/boot-id" /proc/sys/kernel/random/boot_id
mount -t tmpfs tmpfs /sys/class
mkdir -p /sys/class/dmi/id
mount --bind "$1/dmi" /sys/class/dmi/id
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add "$2/30" dev eth0
ip link set eth0 up
shift 2
exec "$@"
"""


@dataclass
class Machine(TinyWorker):
    """A host that says it is a machine of its own; ``folder`` has what it says."""

    folder: Path = Path()
    address: str = ""
    gateway: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        (self.folder / "dmi").mkdir(parents=True)
        (self.folder / "machine-id").write_text(secrets.token_hex(16) + "\n")
        (self.folder / "boot-id").write_text(f"{uuid.uuid4()}\n")
        (self.folder / "dmi" / "sys_vendor").write_text("A Vendor\n")
        (self.folder / "dmi" / "product_name").write_text("A Model\n")
        self.says_hardware(str(uuid.uuid4()))

    def says_hardware(self, product_uuid: str) -> None:
        """Forge the product UUID."""
        (self.folder / "dmi" / "product_uuid").write_text(f"{product_uuid}\n")

    def argv(self, before: str = "") -> list[str]:
        inside = ["unshare", "--mount", "--net", "sh", "-c", ENTER, "enter", str(self.folder), self.address]
        return [*inside, *before.split(), f"{BIN}/silvermetal-worker", "run", str(self.directory)]

    def start(self, before: str = "") -> None:
        wait_until(lambda: not Path(f"/sys/class/net/{self.link}").exists(), f"the old link of {self.host} to go")
        super().start(before)
        assert self.program is not None
        own, process = Path("/proc/self/ns/net").readlink(), self.program.process.pid
        wait_until(
            lambda: Path(f"/proc/{process}/ns/net").readlink() != own, "a network of its own", programs=[self.program]
        )
        run(["ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(process)])
        run(["ip", "address", "add", f"{self.gateway}/30", "dev", self.link])
        run(["ip", "link", "set", self.link, "up"])

    def inside(self, *argv: str) -> str:
        """Run a command on this host, as its root."""
        assert self.program is not None
        return run(["nsenter", "--target", str(self.program.process.pid), "--mount", "--net", "--", *argv])


class Machines(Service):
    """A service whose hosts pass for machines; operators by name, their keys in ``folder/operators``."""

    listens: ClassVar[str] = "0.0.0.0"

    def prepare(self, engines: dict[str, str], operators: Sequence[str]) -> None:
        self.engines = engines
        self.operators = tuple(operators)
        # Of the range for tests of networks (RFC 2544): no real network has it.
        self.subnet = f"198.18.{random.randrange(256)}"
        self.links = f"smt{secrets.token_hex(3)}-"

    def operator_key(self, name: str) -> Path:
        return self.folder / "operators" / name

    def operator_public(self, name: str) -> str:
        return Path(f"{self.operator_key(name)}.pub").read_text().strip()

    def write_settings(self, hosts: Sequence[str], **policy: int) -> None:
        super().write_settings(hosts, **policy)
        (self.folder / "operators").mkdir()
        for name in self.operators:
            run([f"{BIN}/silvermetal", "keygen", str(self.operator_key(name))])
            with (self.config / "master.toml").open("a") as settings:
                settings.write(f'\n[[operators]]\noperator = "{name}"\npublic_key = "{self.operator_public(name)}"\n')

    def _corner(self, host: str) -> int:
        return 4 * sorted(self.engines).index(host)

    def master_seen_by(self, host: str) -> str:
        return f"{self.subnet}.{self._corner(host) + 1}"

    def engine_of(self, host: str) -> str:
        return self.engines[host]

    def add_worker(self, host: str) -> None:
        # Not by way of another kind of service: a host with a network of its own reaches no proxy on the loopback.
        Service.add_worker(self, host)
        plain = self.workers[host]
        self.workers[host] = Machine(
            host,
            plain.directory,
            plain.store,
            plain.machine_id,
            folder=self.folder / f"machine-{host}",
            address=f"{self.subnet}.{self._corner(host) + 2}",
            gateway=self.master_seen_by(host),
            link=f"{self.links}{self._corner(host)}",
        )

    def machine(self, host: str) -> Machine:
        found = self.workers[host]
        assert isinstance(found, Machine)
        return found

    def build_together(self) -> None:
        """Each host's build waits for the other's: they are seen to build at the same time, however slow one is."""
        marks = self.folder / "marks"
        shutil.rmtree(marks, ignore_errors=True)
        marks.mkdir()
        all_there = " && ".join(f"[ -e {marks}/{host} ]" for host in self.workers)
        for host, worker in self.workers.items():
            worker.behave(f"before() {{ touch {marks}/{host}; until {all_there}; do sleep 0.1; done; }}")

    def vouch(self, host: str, operator: str, site: str, *, key: Path | None = None, dmi: str | None = None) -> None:
        """An operator reads the hardware's identity on the machine and signs the host's entry, by command."""
        hardware = dmi or self.machine(host).inside(f"{BIN}/silvermetal-worker", "hardware").strip()
        argv = [f"{BIN}/silvermetal", "enroll", str(self.config / "hosts" / f"{host}.toml")]
        argv += ["--key", str(key or self.operator_key(operator)), "--operator", operator, "--site", site]
        run([*argv, "--dmi", hardware])

    @property
    def ledger(self) -> Ledger:
        key = PublicKey((self.config / "master.pub").read_text().strip())
        return Ledger(self.state / "ledger", ORIGIN, key)

    def recorded(self) -> list[Verdict]:
        """Every verdict of the ledger, each checked against the master's key."""
        return [verify_verdict(self.ledger.entry(i), self.ledger.key).verdict for i in range(len(self.ledger.check()))]

    def judge(self, tag: str) -> Verdict:
        """Push ``tag``; the verdict on it, which must be in the ledger."""
        self.build_together()
        self.push_tag(tag)
        verdict: Verdict = self.verdict(tag)
        assert verdict in self.recorded()
        self.wait_idle()
        return verdict


def missing_for_machines() -> str | None:
    """What this machine lacks for such hosts, or None."""
    for tool in ("ip", "iptables", "nsenter"):
        if shutil.which(tool) is None:
            return f"the program {tool}"
    return missing_for_service()


@contextlib.contextmanager
def machines(
    folder: Path, hosts: Sequence[str], operators: Sequence[str], kind: type[Machines] = Machines, **policy: int
) -> Iterator[Any]:
    """A running service on such hosts; ended at the end."""
    lacking = missing_for_machines()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    image, archive = empty_image()
    with contextlib.ExitStack() as ends:
        engines = {host: ends.enter_context(private_engine(OWN_ENGINE_ID)).url for host in hosts}
        for url in engines.values():
            load = ["docker", "-H", url, "load"]
            subprocess.run(load, input=archive, check=True, capture_output=True, timeout=60)
        running = kind(folder, free_port(), free_port(), "", image)
        running.prepare(engines, operators)
        running.write_settings(hosts, **policy)
        running.make_repository()
        commit_lock(running)
        ends.callback(running.stop)
        running.start()
        yield running
