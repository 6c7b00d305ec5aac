"""What is looked at in the container engine: that it answers, the caches, the image by digest, a container of it.

Rules:

- A build's image that is pinned in a registry is brought here by its digest before anything else is asked of it;
  ``doctor`` brings nothing and only says what is missing.
- The probe container is run by ``scripts/build.sh --probe`` of the checkout: exactly the build's options and image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from silvermetal_proof.pins.pins import FROM_DOCKER
from silvermetal_proof.pins.recipe import HOST_FLOORS, VOLUMES

from silvermetal_worker import checks as look
from silvermetal_worker.build import environment_of
from silvermetal_worker.builder_image import patiently
from silvermetal_worker.checks import Check
from silvermetal_worker.engine import ContainerEngine
from silvermetal_worker.errors import WorkerError
from silvermetal_worker.process import output_of
from silvermetal_worker.settings import WorkerDirectory, WorkerSettings
from silvermetal_worker.wanted import Wanted

PROBE_SECONDS = 120
PULL_TRIES = 3
PULL_PAUSE_SECONDS = 5.0
CACHE_SHARE = 10
"""A cache needs this part of the recipe's disk."""


def probe(wanted: Wanted, settings: WorkerSettings, folder: Path, before: Sequence[str] = ()) -> str:
    """Run the probe container, after the words in ``before``. :raises WorkerError: with what build.sh said."""
    script = wanted.checkout / "scripts" / "build.sh"
    if "--probe" not in script.read_text(encoding="utf-8", errors="replace"):
        if before:
            output_of([*before, "true"], timeout=PROBE_SECONDS, cwd=wanted.checkout)
            return "in effect"
        return "not made: build.sh of this commit has no --probe"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe.") as place:
        argv = [*before, "bash", str(script), "--probe", "--recipe", wanted.recipe, "--store", settings.store]
        argv += ["--output", f"{place}/output"]
        env = environment_of(settings, BUILDER_IMAGE=wanted.image, SILVERMETAL_BUILD_TIMEOUT=str(PROBE_SECONDS))
        output_of(argv, timeout=PROBE_SECONDS + 60, cwd=wanted.checkout, env=env)
    return "mounts, rights and output are as a build needs them"


def bring(engine: ContainerEngine, image: str, *, pull: bool) -> str:
    """The image's id, pulled by its digest where it is missing. :raises WorkerError: when it is not to be had."""
    try:
        return engine.image_id(image)
    except WorkerError:
        if not pull or "@" not in image:
            raise
    patiently(
        lambda: engine.pull(image), tries=PULL_TRIES, pause=PULL_PAUSE_SECONDS, say=lambda _line: None, what="pulled"
    )
    return engine.image_id(image)


def image_checks(wanted: Wanted, directory: WorkerDirectory, engine: ContainerEngine, *, pull: bool) -> Iterator[Check]:
    """The builder image by digest, and a container of it."""
    name = "builder image"
    if wanted.image == FROM_DOCKER:
        said = "made by the master from docker/ when a tag asks for it; not looked at"
        yield Check(name, True, "an image by digest", said)
        return
    found = look.of_error(
        name,
        wanted.image,
        lambda: bring(engine, wanted.image, pull=pull)[:19],
        f"`docker pull {wanted.image}`" if "@" in wanted.image else "`docker load` the archive of bootstrap-builder.sh",
    )
    yield found
    if found.good:
        yield look.of_error(
            "probe container",
            "to run with the build's options",
            lambda: probe(wanted, directory.settings, directory.path),
            "run the worker with an engine that allows it (`usermod -aG docker USER` for the machine's own), then call "
            "`silvermetal-worker doctor` again",
        )


def volume_checks(wanted: Wanted, engine: ContainerEngine) -> Iterator[Check]:
    """The volumes in which the recipe keeps what it downloaded."""
    floor = int(wanted.settings.get(HOST_FLOORS[2], "0") or "0") // CACHE_SHARE
    for volume in wanted.settings.get(VOLUMES, "").split():
        name = f"cache volume {volume}"
        try:
            yield look.room_in(name, engine.volume(volume), floor)
        except WorkerError as error:
            yield Check(name, False, "the engine to have it", str(error), "see `docker volume ls` and the engine's log")


def engine_checks(wanted: Wanted, directory: WorkerDirectory, *, pull: bool) -> Iterator[Check]:
    """All of it, as far as the engine answers."""
    settings = directory.settings
    engines: list[ContainerEngine] = []

    def answer() -> str:
        engines.append(ContainerEngine(settings.docker_host, settings.registry_auth))
        return engines[0].facts().version

    start = "`systemctl start docker` (for podman: `systemctl start podman.socket`), and docker_host in worker.toml"
    engine = look.of_error("container engine", "an answer", answer, start)
    yield engine
    if engine.good:  # without it the rest would say the same again
        yield from volume_checks(wanted, engines[0])
        yield from image_checks(wanted, directory, engines[0], pull=pull)
