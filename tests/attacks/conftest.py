"""One hostile service for all attacks on the real master: starting it takes longer than most attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hostile import Hostile, hostile


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """A master that asks for I2, with two lying hosts and one operator."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    with hostile(folder, operator=True, deadline=30, build_timeout=20) as running:
        yield running
