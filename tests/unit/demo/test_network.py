"""Where the demo's network goes: out of everybody's way."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from silvermetal_demo import network
from silvermetal_demo.errors import SetupFailed


def test_a_default_route_takes_nothing() -> None:
    assert network.free_subnet([{"dst": "default", "dev": "eth0"}], []) == network.CANDIDATES[0]


@pytest.mark.parametrize("taken", ["10.213.0.0/24", "10.213.0.7", "10.213.0.128/25"])
def test_a_routed_subnet_is_skipped(taken: str) -> None:
    assert network.free_subnet([{"dst": taken}], []) == IPv4Network("10.213.1.0/24")


def test_a_subnet_with_a_resolver_in_it_is_skipped() -> None:
    assert network.free_subnet([], ["10.213.0.53", "fe80::1"]) == IPv4Network("10.213.1.0/24")


def test_no_room_is_a_sentence() -> None:
    with pytest.raises(SetupFailed, match="expected one free; see: ip route"):
        network.free_subnet([{"dst": "10.0.0.0/8"}], [])


def test_the_stub_of_systemd_resolved_is_looked_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, behind = tmp_path / "resolv.conf", tmp_path / "behind.conf"
    stub.write_text("# a comment\nnameserver 127.0.0.53\noptions edns0\n")
    behind.write_text("nameserver 192.0.2.53\nnameserver fe80::1%eth0\n")
    monkeypatch.setattr(network, "RESOLVERS", (stub, behind))
    assert network.nameservers() == ["192.0.2.53", "fe80::1"]
