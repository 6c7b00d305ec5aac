"""Small images that the real tools made, shared by the tests of explain."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.catalogue import ALL
from tests.cases.world import build, missing


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two images that differ in a few known ways."""
    if missing():
        pytest.skip(f"not installed: {', '.join(missing())}")
    folder = tmp_path_factory.mktemp("pair")
    cases = [
        ALL[n] for n in ("nvme-hostid", "dkms-make-log", "umask", "fat-volume-id", "initrd-times", "iso-volume-id")
    ]
    return build(folder / "a", 0, cases), build(folder / "b", 1, cases)


@pytest.fixture(scope="session")
def image(pair: tuple[Path, Path]) -> Path:
    """One of them."""
    return pair[0]
