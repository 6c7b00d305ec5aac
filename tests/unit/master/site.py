"""A small installation in a folder of the test's own, written by the product's own commands' functions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from silvermetal_master.site import enrol, write_site

from tests.unit.proof.makers import key_of

HOSTS = ("host-a", "host-b")
KEYS = {name: key_of(name).public.hex for name in HOSTS}
REPOSITORY = "https://git.example.org/silvermetal/live.git"


def make_site(tmp_path: Path, repository: str = REPOSITORY) -> Path:
    """The settings of a master with two hosts."""
    folder = tmp_path / "config"
    write_site(
        folder,
        repository=repository,
        recipe="minimal-live",
        url="http://127.0.0.1:8010/",
        web="tcp:8010:interface=127.0.0.1",
        workers="tcp:9989:interface=127.0.0.1",
        origin="example.org/ledger",
    )
    for name in HOSTS:
        enrol(
            folder,
            host=name,
            worker=name,
            public_key=KEYS[name],
            operator="alice",
            site="here",
            password=f"password of {name}",
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )
    return folder
