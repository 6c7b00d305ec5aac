"""One-way partitions between network namespaces: one side hears nothing, and the other is heard.

Rules:

- Packets are dropped by a firewall inside the host's own network namespace, in one direction; no connection is closed.
- Nobody tells either side: TCP goes on sending, and what it sends arrives late, or never.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty
from tests.support.machines import Machines, machines

pytestmark = pytest.mark.system
HEARS_NOTHING, IS_NOT_HEARD = "INPUT", "OUTPUT"


class Partitioned(Machines, Faulty):
    """Hosts on networks of their own, with places to hold the master at, and the invariants after a fault."""

    def prepare(self, engines: dict[str, str] | None = None, operators: Sequence[str] = ()) -> None:
        Faulty.prepare(self)
        Machines.prepare(self, engines or {}, operators)

    def drop(self, host: str, direction: str) -> None:
        side = "-i" if direction == HEARS_NOTHING else "-o"
        self.machine(host).inside("iptables", "-w", "20", "-A", direction, side, "eth0", "-j", "DROP")

    def heal(self, host: str) -> None:
        self.machine(host).inside("iptables", "-w", "20", "-F")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partitioned]:
    """Two hosts with a deadline of 40 s, as the other faults have."""
    folder: Path = tmp_path_factory.mktemp("one-way")
    with machines(folder, ("host-a", "host-b"), (), kind=Partitioned, deadline=40, build_timeout=30) as running:
        yield running


@pytest.fixture
def hosts(service: Partitioned) -> Iterator[Partitioned]:
    """The service; a partition that the test left is healed, and a host that it lost is back."""
    yield service
    service.holds.clear()
    service.heal("host-b")
    service.wait_connected(*service.workers)


@pytest.mark.parametrize("direction", [HEARS_NOTHING, pytest.param(IS_NOT_HEARD, marks=pytest.mark.bench)])
def test_one_way_partition_that_heals_before_the_deadline(hosts: Partitioned, direction: str) -> None:
    tag = f"v8-heals-{direction.lower()}"
    hosts.strike_at(tag, "before-Build")
    hosts.drop("host-b", direction)
    hosts.holds.clear()
    time.sleep(4)
    hosts.heal("host-b")
    verdict = hosts.ends(tag)
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, verdict
    hosts.sound(next_tag=f"{tag}-next")


@pytest.mark.bench
@pytest.mark.parametrize("direction", [HEARS_NOTHING, IS_NOT_HEARD])
def test_one_way_partition_beyond_the_deadline(hosts: Partitioned, direction: str) -> None:
    """The host that is cut off is missing, whatever it built; the other's answer alone is no proof."""
    tag = f"v8-{direction.lower()}"
    hosts.strike_at(tag, "before-Build")
    hosts.drop("host-b", direction)
    hosts.holds.clear()
    verdict = hosts.ends(tag)
    assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE, verdict
    assert [h.host for h in verdict.hosts if not h.valid] == ["host-b"]
    hosts.heal("host-b")
    hosts.wait_connected("host-b")
    hosts.sound(next_tag=f"{tag}-next")
