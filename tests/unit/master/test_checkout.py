"""Submodules are fetched only where the recipe is built from them: what each build's own record says."""

from __future__ import annotations

from pathlib import Path

import pytest
from silvermetal_master.steps.checkout import needs_submodules
from silvermetal_proof import ProofError

from tests.unit.master.test_steps import open_build


def test_only_a_recipe_of_derivative_maker_asks_another_server(tmp_path: Path) -> None:
    record = open_build(tmp_path)
    assert needs_submodules(record) is False
    pins = record.file("pins.json")
    before = pins.read_bytes()
    pins.write_bytes(before.replace(b'","lock"', b'","derivative_maker":"' + b"d" * 40 + b'","lock"'))
    assert needs_submodules(record) is True
    pins.write_bytes(before[:-9])
    with pytest.raises(ProofError):
        needs_submodules(record)
