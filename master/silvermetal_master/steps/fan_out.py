"""Step *fan-out*: the same commit to every host's ``iso@<host>`` builder.

Rules:

- Always followed by the judge, whatever happened here: a cancelled, expired or empty fan-out is judged too.
"""

from __future__ import annotations

from silvermetal_master.steps.of_build import REQUESTS_PROPERTY
from silvermetal_master.steps.rally import Rally


class FanOut(Rally):
    """Ask every host to build, and wait for all or for the deadline."""

    name = "fan-out"
    description = ["every host builds"]

    async def run(self) -> int:
        """Rally, and leave the requests for the judge."""
        result = await self.rally()
        self.setProperty(REQUESTS_PROPERTY, self.requests, "fan-out")
        asked = len(self.requests)
        if self.expired:
            await self.say(f"asked {asked} hosts; the deadline of {self.deadline} s has passed")
        else:
            await self.say(f"asked {asked} hosts; all have ended")
        return result

    def getCurrentSummary(self) -> dict[str, str]:
        """While waiting."""
        return {"step": f"{len(self.brids)} hosts build the same commit"}
