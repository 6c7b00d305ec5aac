"""Podman as a host's engine, by its service with Docker's API: the same image, and (as a bench) the same ISO."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from silvermetal_worker import enrol
from silvermetal_worker.engine import ContainerEngine

from tests.support.engine import Engine
from tests.support.live import Build, Workshop
from tests.support.podman import podman

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def service(workshop: Workshop) -> Iterator[Engine]:
    """Podman with the builder image, from the archive that Docker loaded, too."""
    with podman() as running:
        saved = workshop.folder / "builder.tar"
        assert workshop.engine.docker("save", "--output", str(saved), workshop.image).returncode == 0
        loaded = running.docker("load", "--input", str(saved), timeout=240)
        assert loaded.returncode == 0, loaded.stderr
        saved.unlink()
        yield running


def test_podman_has_the_image_by_the_id_that_docker_has(service: Engine, workshop: Workshop) -> None:
    engine = ContainerEngine(service.url)
    assert engine.facts().name == "podman"
    assert engine.image_id(workshop.image) == workshop.image


def test_doctor_finds_a_host_with_podman_ready(service: Engine, workshop: Workshop, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(workshop.origin, checkout)
    (checkout / "config/builder-image.env").write_text(f"BUILDER_IMAGE={workshop.image}\n")
    conf = checkout / "config/minimal-live.conf"
    conf.write_text(conf.read_text() + "HOST_VOLUMES=silvermetal-try\n")
    values = {"name": "w", "host": "h", "master": "localhost:1", "store": str(tmp_path / "store")}
    enrol.init(tmp_path / "w", {**values, "docker_host": service.url}, "word")
    call = (Path(sys.executable).with_name("silvermetal-worker"), "doctor", tmp_path / "w", "--checkout", checkout)
    done = subprocess.run(
        (*call, "--host-only", "--json"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert [c for c in json.loads(done.stdout)["checks"] if not c["good"]] == []
    assert done.returncode == 0, done.stderr
    assert service.containers() == []


@pytest.mark.bench
def test_an_iso_by_podman_is_the_iso_by_docker(service: Engine, workshop: Workshop, reference: Build) -> None:
    built = replace(workshop, engine=service).build("podman")
    assert built.sha256 == reference.sha256
    assert built.info == reference.info
    assert service.containers() == []
