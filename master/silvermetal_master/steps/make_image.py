"""Steps of ``builder-image``, on one host: hand over the order, make the image and push it, collect its digest.

Rules:

- Made only for an order that ``verify`` wrote; a forced or rebuilt request without one makes nothing (H4).
- A registry that is down is EXCEPTION, an image that cannot be made is FAILURE: the first is the service's trouble, the
  second the commit's.
- The registry's credentials are the host's own; nothing of them comes from here or arrives here.
"""

from __future__ import annotations

from typing import Any

from buildbot.process.results import EXCEPTION, FAILURE, SUCCESS
from silvermetal_proof import ProofError
from silvermetal_proof.builder_image import MAX_BYTES, ImageMade

from silvermetal_master.build_store import NoSuchBuildError
from silvermetal_master.image_store import ImageStore
from silvermetal_master.steps.collect import _Collect
from silvermetal_master.steps.handover import Handover
from silvermetal_master.steps.on_worker import _WorkerCommand

IMAGE_PROPERTY = "silvermetal_image"
"""The property that names the image's key."""
ORDER_FILE = "image-order.json"
MADE_FILE = "image.json"
MAKE_SECONDS = 2 * 3600


class HandoverImage(Handover):
    """Write ``image-order.json`` beside the worker's checkout."""

    description = ["ordering the builder image"]

    async def run(self) -> int:
        """Hand over, or say why not."""
        images = ImageStore(self.store.path)
        try:
            order = images.order(self.getProperty(IMAGE_PROPERTY))
        except (NoSuchBuildError, ProofError) as error:
            await self.say(f"no order: {error}", str(error))
            return FAILURE
        if not await self._download(images.order_file(order.key), ORDER_FILE):
            await self.say("could not hand over the order")
            return FAILURE
        await self.say(f"{self.host} makes the builder image of docker/ at {order.commit[:12]}")
        return SUCCESS


class MakeImage(_WorkerCommand):
    """Build, push, read back."""

    name = "make-image"
    doing = "making the builder image"
    done = "the builder image is in the registry"

    def __init__(self, **kwargs: Any) -> None:
        command = ["silvermetal-worker", "make-image", "--order", f"../{ORDER_FILE}", "-o", f"../{MADE_FILE}"]
        # 5: the host is not ready, 7: the registry; neither is the commit's fault.
        ends = {0: SUCCESS, 5: EXCEPTION, 7: EXCEPTION}
        super().__init__(seconds=MAKE_SECONDS, command=command, decodeRC=ends, **kwargs)


class CollectImage(_Collect):
    """Bring the digest and keep it."""

    name = "collect"
    description = ["collecting the image's digest"]
    source = MADE_FILE
    limit = MAX_BYTES

    async def run(self) -> int:
        """Collect."""
        data = await self.fetch()
        if data is None:
            return FAILURE
        try:
            made = ImageMade.parse(data, limit=MAX_BYTES, what="builder image")
            if made.key != self.getProperty(IMAGE_PROPERTY):
                raise NoSuchBuildError(f"expected the image {self.getProperty(IMAGE_PROPERTY)}, got {made.key}")
            ImageStore(self.store.path).keep(made)
        except (NoSuchBuildError, ProofError) as error:
            await self.say(str(error), str(error))
            return FAILURE
        await self.say(f"the builder image is {made.reference}")
        return SUCCESS
