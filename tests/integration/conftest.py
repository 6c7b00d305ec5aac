"""Services for the integration tests: one engine for all, one service a module."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import engine
from tests.support.images import empty_image
from tests.support.publishing import Publishing, publishing_service
from tests.support.service import Service, missing_for_service, service


@pytest.fixture(scope="session")
def tiny_engine() -> Iterator[tuple[str, str]]:
    """A real engine's address, and the id of the builder image in it."""
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    image, archive = empty_image()
    with engine() as running:
        subprocess.run(
            ["docker", "-H", running.url, "load"], input=archive, check=True, capture_output=True, timeout=60
        )
        yield running.url, image


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Service]:
    """A service with two hosts and an ample deadline."""
    folder: Path = tmp_path_factory.mktemp("two")
    with service(folder, *tiny_engine, ["host-a", "host-b"]) as running:
        yield running


@pytest.fixture(scope="module")
def short_deadline(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Service]:
    """A service whose hosts have 20 seconds in all."""
    folder: Path = tmp_path_factory.mktemp("short")
    with service(folder, *tiny_engine, ["host-a", "host-b"], deadline=20, build_timeout=15) as running:
        yield running


@pytest.fixture
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hosts behave well again after the test."""
    yield
    for name in ("two_hosts", "short_deadline"):
        if name in request.fixturenames:
            running: Service = request.getfixturevalue(name)
            for worker in running.workers.values():
                worker.behave("")


@pytest.fixture(scope="session")
def publishing(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[Publishing]:
    """One service that publishes, for the tests of releases: starting it takes longer than most of them."""
    with publishing_service(tmp_path_factory.mktemp("publish"), tiny_engine) as running:
        yield running
