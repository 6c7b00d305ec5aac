"""Every input that decides bytes: read from ``config/``, refused when it is not a pin, with one canonical digest."""

from silvermetal_proof.envfile import Setting, parse_env
from silvermetal_proof.pins.build_info import parse_build_info
from silvermetal_proof.pins.lock import LockedPackage, PackageLock
from silvermetal_proof.pins.pins import Pins, make_pins, parse_image
from silvermetal_proof.pins.recipe import Recipe, parse_recipe
from silvermetal_proof.pins.snapshot import SnapshotLock, read_lock

__all__ = [
    "LockedPackage",
    "PackageLock",
    "Pins",
    "Recipe",
    "Setting",
    "SnapshotLock",
    "make_pins",
    "parse_build_info",
    "parse_env",
    "parse_image",
    "parse_recipe",
    "read_lock",
]
