"""One service for all faults of a module; each fault leaves it as it found it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import engine
from tests.support.faulty import Faulty, faulty
from tests.support.images import empty_image
from tests.support.service import missing_for_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """A master, two hosts, a deadline of 40 s."""
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    image, archive = empty_image()
    folder: Path = tmp_path_factory.mktemp("faults")
    with engine() as running:
        subprocess.run(
            ["docker", "-H", running.url, "load"], input=archive, check=True, capture_output=True, timeout=60
        )
        with faulty(folder, running.url, image, deadline=40, build_timeout=30) as ready:
            yield ready


@pytest.fixture
def faults(service: Faulty) -> Iterator[Faulty]:
    """The service; whatever the test left undone is undone, so that one failure stays one."""
    yield service
    service.holds.clear()
    for host, worker in service.workers.items():
        worker.behave("")
        proxy = service.proxies[host]
        proxy.silent, proxy.refuses, proxy.seconds_a_block = False, False, 0.0
    if service.master is None or not service.master.running:
        service.start_master()
    for host, worker in service.workers.items():
        if worker.program is None or not worker.program.running:
            worker.start()
        service.wait_connected(host)
