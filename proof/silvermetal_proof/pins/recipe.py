"""A recipe's own file, ``config/<recipe>.conf``: what the engine reads of it, and what it only carries.

Rules:

- The engine takes any recipe: it needs ``PACKAGES``, ``ARCHITECTURE``, ``ISO_SIZE_FLOOR`` and the host's floors; every
  other key belongs to the recipe and is pinned as it stands.
- A recipe of derivative-maker has no ``PACKAGES``: its packages are those of a snapshot, and its file has a reader of
  its own that refuses what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof.derivative_maker.settings import is_base, read_conf
from silvermetal_proof.digest import sha256
from silvermetal_proof.envfile import Setting, parse_env
from silvermetal_proof.errors import MalformedError

HOST_FLOORS = ("HOST_CORES", "HOST_MEMORY_MB", "HOST_DISK_MB")
"""What a host must have for the recipe: cores, and available memory and free disk in MiB."""
DEVICE_COUNT = "HOST_LOOP_DEVICES"
"""How many loop devices a host must have for the recipe."""
MODULES = "HOST_MODULES"
"""Names of kernel modules that a host must have loaded or built in."""
VOLUMES = "HOST_VOLUMES"
"""Names of the engine's volumes in which the recipe keeps what it downloaded."""
HOST_KEYS = frozenset((*HOST_FLOORS, DEVICE_COUNT, MODULES, VOLUMES))
"""What a recipe says of a host; none of it decides bytes."""
DEFAULT_SIZE_FLOOR = 16 * 1024 * 1024
"""Bytes; no bootable live system is smaller, and a dry run's dummy is 6 bytes."""


@dataclass(frozen=True)
class Recipe:
    """One recipe at one commit. Sizes are in bytes."""

    name: str
    digest: str
    packages: tuple[str, ...]
    architecture: str
    size_floor: int
    settings: dict[str, str]

    @property
    def base(self) -> bool:
        """Whether derivative-maker makes it, from a snapshot instead of a package lock."""
        return not self.packages


def _whole_number(setting: Setting, key: str) -> None:
    if not re.fullmatch(r"[0-9]{1,15}", setting.value):
        raise MalformedError(f"{setting.where}: {key}", expected="a whole number", got=setting.value)


def check_host_needs(settings: Mapping[str, Setting]) -> None:
    """What a recipe of any kind says of its hosts. :raises MalformedError: with file and line."""
    for key in (k for k in (*HOST_FLOORS, DEVICE_COUNT) if k in settings):
        _whole_number(settings[key], key)
    for key, form, expected in (
        (MODULES, r"[a-z0-9][a-z0-9_-]{0,63}", "names of kernel modules, by spaces"),
        (VOLUMES, r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}", "names of volumes, by spaces"),
    ):
        for name in settings[key].value.split() if key in settings else ():
            if not re.fullmatch(form, name):
                raise MalformedError(f"{settings[key].where}: {key}", expected=expected, got=name)


def parse_recipe(data: bytes, name: str) -> Recipe:
    """Read ``config/<name>.conf``; :raises MalformedError: with file and line."""
    file = f"config/{name}.conf"
    settings = parse_env(data, file)

    def value(key: str, default: str) -> str:
        return settings[key].value if key in settings else default

    packages = tuple(value("PACKAGES", "").split())
    base = is_base(settings)
    if base:
        read_conf(data)
    elif not packages:
        raise MalformedError(f"{file}: PACKAGES", expected="the packages that the lock is resolved for", got="nothing")
    if "ISO_SIZE_FLOOR" in settings:
        _whole_number(settings["ISO_SIZE_FLOOR"], "ISO_SIZE_FLOOR")
    check_host_needs(settings)
    architecture = value("DERIVATIVE_ARCHITECTURE" if base else "ARCHITECTURE", "amd64")
    if architecture not in ("amd64", "arm64"):
        raise MalformedError(f"{file}: ARCHITECTURE", expected="amd64 or arm64", got=architecture)
    return Recipe(
        name=name,
        digest=sha256(data),
        packages=packages,
        architecture=architecture,
        size_floor=int(value("ISO_SIZE_FLOOR", str(DEFAULT_SIZE_FLOOR))),
        settings={key: setting.value for key, setting in settings.items()},
    )
