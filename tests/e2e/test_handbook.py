"""The handbook's way from three empty machines to a master with two enrolled workers, by its own commands.

- Commands are taken from docs/operations.md as they stand there; only the first lines that give names (REPOSITORY, HOST,
  PUBLIC_KEY) and the master's address are set to this test's own. What the handbook asks a person to carry from machine to
  machine is carried.
- The machines have systemd as process 1: the units are started and stopped by it, with all their fences.
- What is installed on each machine is installed once and shared, since the three are alike up to there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.manifest import Manifest
from silvermetal_demo.network import Network
from silvermetal_demo.repository import Repository
from silvermetal_demo.state import State, end_run, manifest_of

from tests.support.booted import Machine, machine
from tests.support.lent import fresh_root, pip_settings, told

ROOT = Path(__file__).resolve().parents[2]
HANDBOOK = ROOT / "docs" / "operations.md"
BLOCK = re.compile(r"^```sh (on=[^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOSTS = ("host-a", "host-b")
# On the master: ends with 0 when each worker of its arguments is connected, by TLS and with a proven key.
CONNECTED = """
import json, sys, urllib.request
workers = json.load(urllib.request.urlopen("http://127.0.0.1:8010/api/v2/workers", timeout=10))["workers"]
sys.exit(set(sys.argv[1:]) != {w["name"] for w in workers if w["connected_to"]} & set(sys.argv[1:]))
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces and mmdebstrap"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap (scripts/setup.sh test)"),
]


def block(where: str) -> str:
    """The handbook's commands for ``where``; there is one block of each."""
    (found,) = [text for label, text in BLOCK.findall(HANDBOOK.read_text(encoding="utf-8")) if label == f"on={where}"]
    return str(found)


def given(script: str, **values: str) -> str:
    """The script with its lines NAME=… set to ``values``; each has to be there."""
    for name, value in values.items():
        script, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", script)
        assert count == 1, f"expected a line {name}=… in:\n{script}"
    return script


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Network, Manifest, Repository]]:
    """A network, and the repository that a master and its hosts clone."""
    run_dir = State(tmp_path / "outside").new_run()
    manifest = manifest_of(run_dir)
    network, cell = Network(run_dir.name, manifest), Cell("repository", Isolation(), manifest, Interrupt())
    try:
        network.start()
        cell.start()
        repository = Repository(run_dir, cell, {"PATH": os.environ["PATH"], "HOME": str(run_dir)})
        repository.take(ROOT)
        # The clone of a machine takes the branch; no tag is pushed here.
        cell.run(
            ["git", "-C", run_dir / "developer.git", "push", "--quiet", repository.served, "refs/heads/main"],
            timeout=60,
        )
        repository.serve(str(network.gateway), network.free_port(9418), run_dir / "git-daemon.log")
        yield network, manifest, repository
    finally:
        cell.stop()
        assert end_run(run_dir) == []


def test_from_three_empty_machines_to_a_master_with_two_workers(
    place: tuple[Network, Manifest, Repository], tmp_path: Path
) -> None:
    network, manifest, repository = place
    empty = tmp_path / "empty"
    suite = told("sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME").strip()
    fresh_root(empty, suite, "--include=systemd-sysv,dbus,ca-certificates")
    (empty / "etc/resolv.conf").write_text("".join(f"nameserver {server}\n" for server in network.nameservers))
    (empty / "etc/apt/apt.conf.d/00lent").write_text(told("apt-config", "dump", "Acquire"))

    each = given(block("each"), REPOSITORY=repository.url)
    with machine("machine", 9, empty, tmp_path / "first", network, manifest) as first:
        first.run(each, timeout=900, env=pip_settings())
        first.run("systemctl poweroff --force --force || true", good=False)
    # What the first has written is what each has: an overlay of the two.
    installed = f"{tmp_path / 'first' / 'upper' / 'files'}:{empty}"

    with ExitStack() as stack:

        def started(name: str, number: int) -> Machine:
            return stack.enter_context(machine(name, number, Path(installed), tmp_path / name, network, manifest))

        master = started("master", 1)
        hosts = {name: started(name, number) for number, name in enumerate(HOSTS, 2)}
        for one in (master, *hosts.values()):
            one.run(f"echo '{master.address} master.example.org' >>/etc/hosts")

        master.run(given(block("master"), REPOSITORY=repository.url))
        for name, host in hosts.items():
            key = host.run(given(block("host"), HOST=name)).strip()
            assert re.fullmatch("[0-9a-f]{64}", key)
            csr = host.run("cat /var/lib/silvermetal-worker/worker/keys/tls.csr")
            master.run(f"umask 077; cat >/root/{name}.csr", stdin=csr)
            master.run(f"umask 077; cat >/root/{name}.password", stdin=host.run(f"cat /root/{name}.password"))
            master.run(given(block("master for=host"), HOST=name), env={"PUBLIC_KEY": key})
        master.run(block("master after=hosts"))
        master.run(block("master after=change"))
        for name, host in hosts.items():
            pem = master.run(f"cat /etc/silvermetal/tls/workers/{name}.pem")
            host.run(f"cat >/root/{name}.pem", stdin=pem)
            host.run(given(block("host after=enrolment"), HOST=name))

        def all_connected() -> None:
            master.wait_for(f"/opt/silvermetal/.venv/bin/python -c '{CONNECTED}' {' '.join(HOSTS)}", "both workers")

        all_connected()
        assert {host.run("systemctl is-active silvermetal-worker").strip() for host in hosts.values()} == {"active"}
        said = master.run("systemctl show -p NRestarts,StatusText silvermetal-master").split("\n")
        assert {"NRestarts=0", "StatusText=master is running"} <= set(said)

        # A restart is a clean stop; the workers come back by themselves.
        before = master.run("systemctl show -p MainPID --value silvermetal-master").strip()
        master.run(block("master after=change"), timeout=200)
        assert master.run("systemctl show -p MainPID --value silvermetal-master").strip() != before
        assert "Initiating clean shutdown" in master.run("journalctl -u silvermetal-master")
        all_connected()

        # A reactor that is blocked is ended by the watchdog and comes back.
        pid = master.run("systemctl show -p MainPID --value silvermetal-master").strip()
        master.run("mkdir -p /run/systemd/system/silvermetal-master.service.d")
        master.run("printf '[Service]\\nWatchdogSec=5\\n' >/run/systemd/system/silvermetal-master.service.d/test.conf")
        master.run("systemctl daemon-reload && systemctl restart silvermetal-master", timeout=200)
        pid = master.run("systemctl show -p MainPID --value silvermetal-master").strip()
        master.run(f"kill -STOP {pid}")
        master.wait_for(
            "[ $(systemctl show -p NRestarts --value silvermetal-master) -ge 1 ] "
            "&& [ $(systemctl is-active silvermetal-master) = active ]",
            "the watchdog to end the blocked master, and systemd to start it anew",
        )
