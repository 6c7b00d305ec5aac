"""Making the builder image on this host and pushing it: ``silvermetal-worker make-image``.

Rules:

- What is made is what was ordered: ``scripts/make-builder-image`` of a clean checkout at the ordered commit.
- The registry's credentials are one file that only its owner reads; they are in no argument, environment, log or order.
- The digest is the one that the registry answers with after the push, and the engine has the made image by it.
- A registry that does not take it is asked again so often, so far apart, as the order says; then that is the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from silvermetal_proof.builder_image import ImageMade, ImageOrder

from silvermetal_worker.build import check_tree, environment_of
from silvermetal_worker.engine import ContainerEngine, RegistryError
from silvermetal_worker.errors import EXIT_BUILD_FAILED, EXIT_HOST_NOT_READY, EXIT_PIN_REFUSED, WorkerError
from silvermetal_worker.process import run_to_log
from silvermetal_worker.settings import WorkerSettings

BUILD_SECONDS = 3600
ID_FILE = "image.id"
_T = TypeVar("_T")


def build_image(order: ImageOrder, settings: WorkerSettings, *, checkout: Path, folder: Path) -> str:
    """Make the image and return its id; ``folder`` takes what is between. :raises WorkerError: when there is none."""
    check_tree(checkout, order.commit)
    found = folder / ID_FILE
    found.unlink(missing_ok=True)
    env = environment_of(
        settings, SILVERMETAL_IMAGE_TIMEOUT=str(BUILD_SECONDS), SILVERMETAL_SNAPSHOTS=settings.snapshots
    )
    argv = ["bash", "scripts/make-builder-image", "--id", str(found)]
    code = run_to_log(argv, timeout=BUILD_SECONDS + 60, cwd=checkout, env=env)
    if code != 0:
        known = code in (EXIT_PIN_REFUSED, EXIT_HOST_NOT_READY)
        raise WorkerError(
            f"make-builder-image: expected exit code 0, got {code}; the log above says why",
            code if known else EXIT_BUILD_FAILED,
        )
    return found.read_text(encoding="ascii").strip()


def patiently(ask: Callable[[], _T], *, tries: int, pause: float, say: Callable[[str], None], what: str) -> _T:
    """``ask`` a registry at most ``tries`` times, ``pause`` seconds apart. :raises RegistryError: its last one."""
    for number in range(1, tries + 1):
        try:
            return ask()
        except RegistryError as error:
            if number == tries:
                raise RegistryError(f"{what} {tries} times, without success: {error}") from None
            say(f"{error}; try {number + 1} of {tries} in {pause:g} s")
            time.sleep(pause)
    raise AssertionError("a bound of at least one try")


def make_image(
    order: ImageOrder, settings: WorkerSettings, *, checkout: Path, folder: Path, say: Callable[[str], None]
) -> ImageMade:
    """Build, push, read back. ``say`` takes a line a try.

    :raises RegistryError: when the registry did not take it within the order's bound.
    :raises WorkerError: when there is no image.
    """
    if settings.engine != "docker":
        raise WorkerError(
            f'builder image: expected engine = "docker" in worker.toml, got {settings.engine}; images are made by '
            "Docker's classic builder",
            EXIT_HOST_NOT_READY,
        )
    image = build_image(order, settings, checkout=checkout, folder=folder)
    say(f"made {image}")
    engine = ContainerEngine(settings.docker_host, settings.registry_auth)

    def push() -> str:
        return engine.push(image, order.repository, order.tag)

    bound = {"tries": order.tries, "pause": float(order.pause), "say": say}
    digest = patiently(push, what=f"pushed to {order.repository}", **bound)
    made = ImageMade(key=order.key, commit=order.commit, repository=order.repository, image=image, digest=digest)
    if (got := engine.image_id(made.reference)) != image:
        raise WorkerError(f"{made.reference}: expected it to be {image}, which was made here, got {got}")
    say(f"pushed and read back: {made.reference}")
    return made
