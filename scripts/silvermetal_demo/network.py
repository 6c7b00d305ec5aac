"""The demo's own network on this machine: a bridge, an address for each host, and the way out by NAT.

- The subnet is one that this machine neither has nor routes to, nor asks for names: chosen anew each run.
- Every link and every rule is written into the manifest before it is made; every rule carries the run's comment.
- The machine's other rules stay untouched: ours stand in front of them and go again one by one. A firewall that drops
  forwarded packets (Docker's own does) is answered for our bridge alone.
- Names are resolved as on this machine; a resolver on the loopback, which other network namespaces cannot see, is
  reached through the bridge's address.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address
from pathlib import Path

from silvermetal_demo.cell import Cell
from silvermetal_demo.command import run
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan
from silvermetal_demo.manifest import Manifest

# A corner of 10/8 that few use; any taken one is skipped.
CANDIDATES = [IPv4Network(f"10.213.{third}.0/24") for third in range(256)]
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class Network:
    def __init__(self, run_name: str, manifest: Manifest) -> None:
        self._comment = f"silvermetal-demo-{run_name}"
        self._manifest = manifest
        self.bridge = ""
        self.mtu = 1500
        self.subnet = CANDIDATES[0]
        self.nameservers: tuple[str, ...] = ()

    @property
    def gateway(self) -> IPv4Address:
        return self.subnet.network_address + 1

    def address(self, number: int) -> IPv4Interface:
        """The address of host number 1, 2, ..."""
        return IPv4Interface(f"{self.subnet.network_address + 10 + number}/{self.subnet.prefixlen}")

    def start(self) -> None:
        with alone():
            self._make_bridge()
        before = FORWARDING.read_text().strip()
        if before != "1":
            self._manifest.sysctl(str(FORWARDING), before, "1")
            FORWARDING.write_text("1")
        self._let_through()

    def _make_bridge(self) -> None:
        routes = _json(["ip", "-json", "-4", "route", "show", "table", "all"])
        links = {str(link["ifname"]) for link in _json(["ip", "-json", "link", "show"])}
        self.nameservers = tuple(nameservers())
        self.subnet = free_subnet(routes, self.nameservers)
        self.mtu = uplink_mtu(routes)
        self.bridge = next(name for name in (f"smbr{n}" for n in range(1000)) if name not in links)

        self._manifest.link(self.bridge)
        _ip(
            f"link add name {self.bridge} mtu {self.mtu} type bridge",
            f"link set {self.bridge} alias {self._comment}",
            f"address add {self.gateway}/{self.subnet.prefixlen} dev {self.bridge}",
            f"link set {self.bridge} up",
        )

    def _let_through(self) -> None:
        subnet, bridge = str(self.subnet), self.bridge
        self._rule("nat", "POSTROUTING", "-s", subnet, "!", "-o", bridge, "-j", "MASQUERADE")
        answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"]
        self._rule("filter", "FORWARD", "-i", bridge, "-j", "ACCEPT")
        self._rule("filter", "FORWARD", "-o", bridge, *answers, "-j", "ACCEPT")
        self._rule("filter", "INPUT", "-i", bridge, "-d", str(self.gateway), "-j", "ACCEPT")
        for server in self.nameservers:
            if ip_address(server).is_loopback:
                self._reach_loopback_resolver(server)
                break

    def _reach_loopback_resolver(self, server: str) -> None:
        # Of our own bridge alone, so it goes with the bridge and needs no line in the manifest.
        Path(f"/proc/sys/net/ipv4/conf/{self.bridge}/route_localnet").write_text("1")
        for protocol in ("udp", "tcp"):
            asks = ["-i", self.bridge, "-p", protocol, "--dport", "53"]
            self._rule("nat", "PREROUTING", *asks, "-d", str(self.gateway), "-j", "DNAT", "--to-destination", server)
            self._rule("filter", "INPUT", *asks, "-d", server, "-j", "ACCEPT")
        self.nameservers = (str(self.gateway),)

    def free_port(self, wanted: int) -> int:
        """`wanted` on the bridge's address, or any free port where somebody listens on all addresses."""
        for port in (wanted, 0):
            with socket.socket() as probe:
                try:
                    probe.bind((str(self.gateway), port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise SetupFailed(f"got no free TCP port at {self.gateway}")

    def _rule(self, table: str, chain: str, *specification: str) -> None:
        marked = [*specification, "-m", "comment", "--comment", self._comment]
        self._manifest.rule(table, chain, marked)
        run(["iptables", "-w", "20", "-t", table, "-I", chain, *marked], timeout=30)


@contextmanager
def alone() -> Iterator[None]:
    """Two demos (of two state folders) must not choose the same subnet: both would see it free.

    The lock is a name in the abstract socket space of this network namespace: it leaves no file, and ends with us.
    """
    with socket.socket(socket.AF_UNIX) as lock:
        for _ in range(200):
            try:
                lock.bind("\0silvermetal-demo-network")
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SetupFailed("another demo has been making its network for 10 s; wait for it, or end it")
        yield


def attach(cell: Cell, plan: HostPlan, manifest: Manifest) -> None:
    """Give a cell its network card: eth0 on the bridge, with the planned address and the way out."""
    outside = f"{plan.bridge}h{int(plan.address.ip) & 0xFF}"
    manifest.link(outside)
    _ip(
        f"link add name {outside} mtu {plan.mtu} type veth peer name eth0 mtu {plan.mtu} netns {cell.pid}",
        f"link set {outside} master {plan.bridge}",
        f"link set {outside} up",
    )
    commands = (
        "link set lo up",
        f"address add {plan.address} dev eth0",
        "link set eth0 up",
        f"route add default via {plan.gateway}",
    )
    cell.run(["ip", "-batch", "-"], input_text="\n".join(commands) + "\n", timeout=20)


def free_subnet(routes: Sequence[dict[str, object]], asked: Sequence[str]) -> IPv4Network:
    """The first candidate that overlaps no route and holds no resolver. A default route overlaps nothing."""
    taken = [
        IPv4Network(str(route["dst"]), strict=False)
        for route in routes
        if route["dst"] != "default" and route.get("type", "unicast") not in ("unreachable", "blackhole", "prohibit")
    ]
    taken += [IPv4Network(server) for server in asked if ip_address(server).version == 4]
    for candidate in CANDIDATES:
        if not any(candidate.overlaps(network) for network in taken if network.prefixlen > 0):
            return candidate
    raise SetupFailed(f"got routes over all of {CANDIDATES[0]} to {CANDIDATES[-1]}, expected one free; see: ip route")


def uplink_mtu(routes: Sequence[dict[str, object]]) -> int:
    """Packets that the uplink cannot carry must not be made in the first place (tunnels, clouds)."""
    for route in routes:
        if route["dst"] == "default":
            return int(Path(f"/sys/class/net/{route['dev']}/mtu").read_text())
    return 1500


def nameservers() -> list[str]:
    """As /etc/resolv.conf names them; systemd-resolved's stub listens on lo alone, so then the ones behind it."""
    for path in RESOLVERS:
        if not path.exists():
            continue
        words = [line.split() for line in path.read_text(errors="replace").splitlines()]
        found = [line[1].partition("%")[0] for line in words if len(line) > 1 and line[0] == "nameserver"]
        if found and found != ["127.0.0.53"]:
            return found
    return []


def _ip(*commands: str) -> None:
    run(["ip", "-batch", "-"], input_text="\n".join(commands) + "\n", timeout=20)


def _json(command: list[str]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run(command, timeout=20).out or "[]")
    return found
