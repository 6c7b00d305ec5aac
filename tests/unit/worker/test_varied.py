"""A build under an ordered variation: what is called, what is refused beforehand, what the statement says."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from silvermetal_proof.digest import measure
from silvermetal_proof.errors import ProofError
from silvermetal_proof.order import Order
from silvermetal_proof.statement.schema import Dependency
from silvermetal_proof.variation import Variation
from silvermetal_worker import enrol
from silvermetal_worker.artefact import Found
from silvermetal_worker.attest import applied, compose, read_output
from silvermetal_worker.build import APPLIED_FILE, build, command, varied
from silvermetal_worker.engine_checks import probe
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, WorkerError
from silvermetal_worker.settings import WorkerDirectory
from silvermetal_worker.wanted import Wanted

from tests.unit.master.test_pinning import Repository
from tests.unit.proof.makers import A
from tests.unit.worker.orders import LOCK, PINS, make_order

PLAN = Variation(umask="0077", cores=1, path="some/where")
SCRIPT = """#!/bin/bash
while [ $# -gt 0 ]; do [ "$1" = --output ] && output=$2; shift; done
mkdir -p "$output"; { umask; nproc; pwd; } > "$output/seen"
"""


@pytest.fixture
def directory(tmp_path: Path) -> WorkerDirectory:
    values = {"name": "worker-host-a", "host": "host-a", "master": "127.0.0.1:1", "store": str(tmp_path / "store")}
    enrol.init(tmp_path / "worker", values, "a password")
    return WorkerDirectory(tmp_path / "worker")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "build" / "checkout"
    folder.parent.mkdir()
    Repository(folder)
    (folder / "scripts").mkdir(exist_ok=True)
    (folder / "scripts/build.sh").write_text(SCRIPT)
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["add", "-A"], ["commit", "-q", "-m", "a script"]):
        subprocess.run([*git, *words], check=True, stdin=subprocess.DEVNULL, timeout=30)
    return folder


def order_of(checkout: Path, variation: Variation | None) -> Order:
    head = subprocess.check_output(["git", "-C", checkout, "rev-parse", "HEAD"], text=True, timeout=30).strip()
    return make_order(commit=head, variation=variation)


def test_without_a_variation_nothing_stands_before_the_call(directory: WorkerDirectory) -> None:
    for variation in (None, Variation()):
        order = make_order(variation=variation)
        assert varied(order) == []
        assert command(order, directory.settings, lock=Path("l"), output=Path("o"))[0] == "bash"


def test_the_build_runs_under_it_and_what_was_in_effect_is_kept(directory: WorkerDirectory, checkout: Path) -> None:
    order, output = order_of(checkout, PLAN), checkout.parent / "output"
    build(order, directory.settings, checkout=checkout, lock=checkout / "lock", output=output)
    umask, cores, here = (output / "seen").read_text().split()
    assert (umask, cores) == ("0077", "1")
    assert here.endswith("/.vary/some/where")
    assert applied(order, output) == PLAN
    assert {p.name for p in checkout.parent.iterdir()} == {"checkout", "output", "times.json", APPLIED_FILE}
    plain = order_of(checkout, None)
    build(plain, directory.settings, checkout=checkout, lock=checkout / "lock", output=output)
    assert applied(plain, output) is None
    assert not (checkout.parent / APPLIED_FILE).exists(), "of an earlier build"


def test_a_host_that_cannot_vary_so_does_not_build(directory: WorkerDirectory, checkout: Path) -> None:
    order, output = order_of(checkout, Variation(cores=1024)), checkout.parent / "output"
    with pytest.raises(WorkerError) as caught:
        build(order, directory.settings, checkout=checkout, lock=checkout / "lock", output=output)
    assert caught.value.code == EXIT_HOST_NOT_READY
    assert not output.exists()
    with pytest.raises(WorkerError, match=APPLIED_FILE):
        applied(order, output)


def test_it_is_tried_before_minutes_are_spent(directory: WorkerDirectory, checkout: Path, tmp_path: Path) -> None:
    wanted = Wanted("minimal-live", {}, PINS.builder_image, checkout)
    good, bad = (varied(make_order(variation=Variation(cores=n))) for n in (1, 1024))
    assert probe(wanted, directory.settings, tmp_path, before=good) == "in effect"
    with pytest.raises(WorkerError, match="cores: expected at least 1024, got"):
        probe(wanted, directory.settings, tmp_path, before=bad)


def test_the_statement_says_what_was_in_effect_and_what_it_is_for(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "a.iso").write_bytes(b"image")
    (folder / "BUILD_INFO").write_text("RECIPE=minimal-live\n")
    (folder / "packages.lock").write_bytes(LOCK)
    order = make_order(variation=PLAN, attribution="f" * 32)
    (tmp_path / APPLIED_FILE).write_text(json.dumps({"umask": "0077", "cores": "2"}))
    statement = compose(
        order,
        read_output(folder),
        measured=measure(io.BytesIO(b"image"), order.nonce),
        found=Found(5, iso9660=True, bootable=True),
        evidence=A.evidence,
        inputs=(Dependency(name="commit"),),
        variation=applied(order, folder),
    )
    assert statement.predicate.variation == Variation(umask="0077", cores=2), "what was, not what was ordered"
    assert statement.predicate.attribution == "f" * 32
    (tmp_path / APPLIED_FILE).write_text(json.dumps({"weather": "fine"}))
    with pytest.raises(ProofError, match="weather"):
        applied(order, folder)
