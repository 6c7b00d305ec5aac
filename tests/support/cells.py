"""A cell with a network of its own: what engines, compose and iptables do in it reaches nobody, and ends with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import SimpleNamespace

from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.network import Network, attach
from silvermetal_demo.state import State, end_run, manifest_of


@contextmanager
def networked_cell(folder: Path, name: str, *, empty: tuple[str, ...] = ()) -> Iterator[tuple[Cell, IPv4Address]]:
    """The cell, and its address on the way out. State of the run is kept in ``folder``.

    An engine in it may keep its control groups below ``silvermetal-test-<name>``: they go with the cell.
    """
    run_dir = State(folder).new_run()
    manifest, interrupt = manifest_of(run_dir), Interrupt()
    made = Cell(name, Isolation(network=True, host_name=name, empty=empty), manifest, interrupt)
    network = Network(run_dir.name, manifest)
    try:
        made.start()
        network.start()
        manifest.cgroup(f"silvermetal-test-{name}")
        address: IPv4Interface = network.address(1)
        card = SimpleNamespace(bridge=network.bridge, address=address, mtu=network.mtu, gateway=network.gateway)
        attach(made, card, manifest)  # type: ignore[arg-type]
        yield made, address.ip
    finally:
        made.stop()
        assert end_run(run_dir) == []
