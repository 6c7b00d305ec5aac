"""An order as a master writes it, for the worker's tests."""

from __future__ import annotations

from typing import Any

from silvermetal_proof.digest import sha256
from silvermetal_proof.order import Order
from silvermetal_proof.pins import Pins
from silvermetal_proof.seal import SealingKey

from tests.unit.proof.makers import BUILD, COMMIT, REF, hex64
from tests.unit.proof.test_pins import PACKAGE, lock

LOCK = lock(PACKAGE)
SEALING = SealingKey.from_hex("22" * 32)
PINS = Pins(
    recipe="minimal-live",
    recipe_conf=sha256(b"conf"),
    source_date_epoch=1,
    builder_image="sha256:" + "a" * 64,
    lock=sha256(LOCK),
    settings={"PACKAGES": "bash"},
)


def make_order(**changes: Any) -> Order:
    """Host a's order."""
    values: dict[str, Any] = {
        "build": BUILD,
        "host": "host-a",
        "worker": "worker-host-a",
        "repository": "https://git.example.org/silvermetal/live.git",
        "ref": REF,
        "commit": COMMIT,
        "recipe": "minimal-live",
        "pins": PINS,
        "nonce": hex64("nonce", "host-a"),
        "seal_key": SEALING.public_hex,
        "timeout": 600,
    }
    return Order(**{**values, **changes})
