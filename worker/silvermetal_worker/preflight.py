"""Preflight: is this host ready for this recipe? Asked before minutes are spent, and by ``doctor``.

Rules:

- One list for both: a build's first step asks it for an order, ``doctor`` for a checkout.
- A variation that the order asks for is tried, all of it at once, around the probe container.
- The probe container is run by ``scripts/build.sh --probe`` of the checkout: exactly the build's options and image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.order import Order
from silvermetal_proof.pins import Setting, parse_env, parse_image, parse_recipe
from silvermetal_proof.pins.pins import Pins

from silvermetal_worker import checks as look
from silvermetal_worker.build import environment_of, varied
from silvermetal_worker.checks import Check
from silvermetal_worker.engine import ContainerEngine
from silvermetal_worker.errors import EXIT_USAGE, WorkerError
from silvermetal_worker.process import output_of
from silvermetal_worker.settings import WorkerDirectory, WorkerSettings

PROBE_SECONDS = 120


@dataclass(frozen=True)
class Wanted:
    """What the host is looked at for. ``settings`` are the recipe's."""

    recipe: str
    settings: dict[str, str]
    image: str
    checkout: Path

    @classmethod
    def of_pins(cls, pins: Pins, checkout: Path) -> Wanted:
        """For an order."""
        return cls(pins.recipe, pins.settings, pins.builder_image, checkout)

    @classmethod
    def of_checkout(cls, checkout: Path, recipe: str) -> Wanted:
        """For whatever ``config/`` in a checkout says now. :raises WorkerError: where there is none."""

        def read(name: str) -> bytes:
            try:
                return (checkout / "config" / name).read_bytes()
            except OSError:
                raise WorkerError(
                    f"expected config/{name} in {checkout}, got none; name a checkout by --checkout and a recipe by "
                    "--recipe",
                    EXIT_USAGE,
                ) from None

        file = "builder-image.env"
        images = parse_env(read(file), f"config/{file}")
        image = parse_image(images.get("BUILDER_IMAGE", Setting("", f"config/{file}")))
        return cls(recipe, parse_recipe(read(f"{recipe}.conf"), recipe).settings, image, checkout)


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


def host_checks(wanted: Wanted, directory: WorkerDirectory) -> Iterator[Check]:
    """All that a host is looked at for, one after the other."""
    settings = directory.settings
    yield from look.floors(wanted.settings, directory.path)
    yield from look.tools()
    yield from look.modules(wanted.settings)
    yield from look.loop_devices(wanted.settings)
    yield look.writable("worker's directory", directory.path)
    yield look.writable("package store", Path(settings.store))
    yield look.of_error("signing key", "readable by its owner alone", lambda: directory.signing_key().public.keyid[:16])
    engine = look.of_error(
        "container engine", "an answer", lambda: ContainerEngine(settings.docker_host).facts().version
    )
    yield engine
    if not engine.good:
        return  # without it the rest would say the same again
    found = look.of_error(
        "builder image", wanted.image, lambda: ContainerEngine(settings.docker_host).image_id(wanted.image)[:19]
    )
    yield found
    if found.good:
        yield look.of_error(
            "probe container",
            "to run with the build's options",
            lambda: probe(wanted, settings, directory.path),
            "run the worker with an engine that allows it (`usermod -aG docker USER` for the machine's own), then call "
            "`silvermetal-worker doctor` again",
        )


def checks(order: Order, directory: WorkerDirectory, checkout: Path, skew: float | None) -> Iterator[Check]:
    """A build's preflight. ``skew`` is this host's clock less the master's, in seconds, taken when it was handed on."""
    host = directory.settings.host
    yield Check("order", order.host == host, f"an order for {host}", f"one for {order.host}")
    if skew is not None:
        yield look.clock(skew)
    wanted = Wanted.of_pins(order.pins, checkout)
    yield from host_checks(wanted, directory)
    if order.variation:
        yield look.of_error(
            "variation",
            " ".join(order.variation.arguments),
            lambda: probe(wanted, directory.settings, directory.path, before=varied(order)),
            f"mend it, or take the factor out of [variation.{host}] in the master's settings",
        )
