"""``silvermetal-worker doctor`` on a real engine: the probe container runs as a build would, and leaves nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from silvermetal_worker import enrol

from tests.support.images import empty_image
from tests.support.live import Workshop

pytestmark = pytest.mark.e2e
DOCTOR = Path(sys.executable).with_name("silvermetal-worker")


def doctor(workshop: Workshop, folder: Path, image: str) -> tuple[int, dict[str, dict[str, object]]]:
    checkout = folder / "checkout"
    shutil.copytree(workshop.origin, checkout)
    (checkout / "config/builder-image.env").write_text(f"BUILDER_IMAGE={image}\n")
    values = {"name": "w", "host": "h", "master": "localhost:1", "store": str(folder / "store")}
    enrol.init(folder / "w", {**values, "docker_host": workshop.engine.url}, "word")
    before = workshop.engine.containers()
    done = subprocess.run(
        (DOCTOR, "doctor", folder / "w", "--checkout", checkout, "--host-only", "--json"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert set(workshop.engine.containers()) <= set(before)
    assert [p for p in (folder / "store").rglob("*") if p.is_file()] == []
    assert not list((folder / "w").glob(".probe*"))
    return done.returncode, {c["name"]: c for c in json.loads(done.stdout)["checks"]}


def test_a_host_that_can_build_is_ready(workshop: Workshop, tmp_path: Path) -> None:
    code, found = doctor(workshop, tmp_path, workshop.image)
    assert [c for c in found.values() if not c["good"]] == []
    assert (code, found["probe container"]["got"]) == (0, "mounts, rights and output are as a build needs them")


def test_an_image_that_cannot_build_is_found_by_the_probe(workshop: Workshop, tmp_path: Path) -> None:
    image, archive = empty_image()
    subprocess.run(
        ("docker", "load"), env=workshop.engine.environment, input=archive, check=True, capture_output=True, timeout=60
    )
    code, found = doctor(workshop, tmp_path, image)
    assert (code, found["builder image"]["good"], found["probe container"]["good"]) == (5, True, False)
    assert "the probe container failed with exit code" in str(found["probe container"]["got"])
