"""One hostile service for all attacks on the real master: starting it takes longer than most attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile import Hostile, hostile


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """A master that asks for I2, with two lying hosts and one operator."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    with hostile(folder, operator=True, deadline=30, build_timeout=20) as running:
        yield running


class Watched(Hostile):
    """Its log is JSON."""

    def write_settings(self, hosts: Any, **policy: int) -> None:
        super().write_settings(hosts, **policy)
        settings = self.config / "master.toml"
        settings.write_text(settings.read_text().replace("[repository]", 'logs = "json"\n\n[repository]', 1))


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One service for all that only looks at a service: metrics, health, status, doctor."""
    with hostile(tmp_path_factory.mktemp("watched"), kind=Watched) as running:
        yield running
