"""Steps of ``deliver@<host>``: hand over where to send the ISO, and let the host send it.

Rules:

- The one-time token travels as a file, never as a property; it is for one host of one build, and is gone afterwards.
"""

from __future__ import annotations

import json
from typing import Any

from buildbot.process.results import FAILURE, SUCCESS

from silvermetal_master.build_store import NoSuchBuildError
from silvermetal_master.steps.handover import Handover
from silvermetal_master.steps.on_worker import _WorkerCommand
from silvermetal_master.steps.publish import DELIVERY

DELIVER_SECONDS = 4 * 3600


class HandoverDelivery(Handover):
    """Write ``delivery.json`` beside the worker's checkout."""

    name = "handover-delivery"
    description = ["handing over where to deliver"]

    async def run(self) -> int:
        """Hand over, or say why not."""
        try:
            order = self.record().file(DELIVERY)
            if json.loads(order.read_bytes())["host"] != self.host:
                raise NoSuchBuildError(f"host {self.host} was not asked to deliver")
        except (NoSuchBuildError, OSError) as error:
            await self.say(f"nothing to deliver: {error}", str(error))
            return FAILURE
        if not await self._download(order, DELIVERY):
            await self.say(f"could not hand over {DELIVERY}")
            return FAILURE
        await self.say("handed over")
        return SUCCESS


class Deliver(_WorkerCommand):
    """The host sends its ISO."""

    name = "deliver"
    doing = "delivering the ISO"
    done = "delivered"

    def __init__(self, **kwargs: Any) -> None:
        command = ["silvermetal-worker", "deliver", "--order", f"../{DELIVERY}"]
        super().__init__(seconds=DELIVER_SECONDS, command=command, **kwargs)
