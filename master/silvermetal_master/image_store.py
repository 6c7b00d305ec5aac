"""The builder images that the master had made: an order and an answer a key, in ``images/`` of its state.

Rules:

- The key names what the image is made from; an answer is kept for ever, so that one ``docker/`` is made once.
- Written durably, and only an answer to an order that was written here is kept (H3, H4).
"""

from __future__ import annotations

import re
from pathlib import Path

from silvermetal_proof.builder_image import INPUTS, MAX_BYTES, ImageMade, ImageOrder, image_key
from silvermetal_proof.ledger.store import write_durably

from silvermetal_master.build_store import NoSuchBuildError
from silvermetal_master.mirror import Mirror

_KEY = re.compile(r"\Asha256:[0-9a-f]{64}\Z")


def key_of(mirror: Mirror, commit: str) -> str:
    """The key of the image that ``commit`` asks for. :raises PinningError: when git does not answer.

    :raises MalformedError: when the commit lacks what an image is made from.
    """
    return image_key(mirror.objects(commit, INPUTS))


class ImageStore:
    """All of one master. ``state`` is the folder that holds the build store, too."""

    def __init__(self, state: Path) -> None:
        self.path = state / "images"

    def order_file(self, key: object) -> Path:
        """Where the order with ``key`` lies. :raises NoSuchBuildError: for anything that is no key."""
        if not isinstance(key, str) or not _KEY.match(key):
            raise NoSuchBuildError(f"expected the key of a builder image, got {str(key)[:80]!r}")
        return self.path / f"{key[7:]}.order.json"

    def _made_file(self, key: object) -> Path:
        return self.order_file(key).with_suffix("").with_suffix(".json")

    def order(self, key: object) -> ImageOrder:
        """What was ordered. :raises NoSuchBuildError: when nothing was."""
        try:
            return ImageOrder.parse(self.order_file(key).read_bytes(), limit=MAX_BYTES, what="order for an image")
        except FileNotFoundError:
            raise NoSuchBuildError(f"image {key}: expected an order of this master, got none") from None

    def write_order(self, order: ImageOrder) -> None:
        """Keep an order; a later one with the same key replaces it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_durably(self.order_file(order.key), order.encode(), replace=True)

    def made(self, key: object) -> ImageMade | None:
        """What came of the order; None where nothing did yet."""
        try:
            return ImageMade.parse(self._made_file(key).read_bytes(), limit=MAX_BYTES, what="builder image")
        except FileNotFoundError:
            return None

    def keep(self, made: ImageMade) -> None:
        """Keep an answer. :raises MalformedError: unless it answers its order."""
        made.check(self.order(made.key))
        write_durably(self._made_file(made.key), made.encode(), replace=True)
