"""What a host is looked at for: a recipe's needs and its builder image, from an order or from a checkout.

Rules:

- The files of a checkout are read as the master reads them; what is no pin is refused, with file and line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.pins import Pins, Setting, parse_env, parse_image
from silvermetal_proof.pins.pins import FROM_DOCKER, is_from_docker
from silvermetal_proof.pins.recipe import check_host_needs

from silvermetal_worker.errors import EXIT_USAGE, WorkerError


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

        image = read("builder-image.env")
        where = "config/builder-image.env"
        value = parse_env(image, where).get("BUILDER_IMAGE", Setting("", where))
        settings = parse_env(read(f"{recipe}.conf"), f"config/{recipe}.conf")
        check_host_needs(settings)
        return cls(
            recipe,
            {key: setting.value for key, setting in settings.items()},
            FROM_DOCKER if is_from_docker(image) else parse_image(value),
            checkout,
        )
