"""`silvermetal-worker hardware`: the identity that an operator signs, the same that a statement will hold."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from silvermetal_proof.host.evidence import application_hash
from silvermetal_worker import host
from silvermetal_worker.cli import main
from silvermetal_worker.errors import EXIT_HOST_NOT_READY

UUID = "6B1F0F2E-0d6c-4c6e-9d0e-1c1f6f0b8a11"


def test_it_is_the_hash_of_the_product_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_read", {"/sys/class/dmi/id/product_uuid": UUID}.get)
    plain, as_json = CliRunner().invoke(main, ["hardware"]), CliRunner().invoke(main, ["hardware", "--json"])
    assert plain.output == f"{application_hash(UUID.lower())}\n"
    assert json.loads(as_json.output) == {"dmi": application_hash(UUID)}
    assert plain.exit_code == as_json.exit_code == 0


@pytest.mark.parametrize(
    "found", [None, "", "00000000-0000-0000-0000-000000000000", "ffffffff-FFFF-ffff-ffff-ffffffffffff"]
)
def test_a_machine_that_tells_none_is_told_what_that_means(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    monkeypatch.setattr(host, "_read", lambda _path: found)
    ended = CliRunner().invoke(main, ["hardware"])
    assert ended.exit_code == EXIT_HOST_NOT_READY
    assert "expected a product UUID in /sys/class/dmi/id/product_uuid, got none" in ended.output
    assert "I2 is their best level" in ended.output
