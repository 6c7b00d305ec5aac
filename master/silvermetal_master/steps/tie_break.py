"""Step *tie-break*: when hosts differ one against one, ask the reserve host by itself, so that the odd one is named.

Rules:

- Asked only after DIVERGED without an odd one out; a majority still makes no pass, it only names.
- The reserve host gets the same commit and the order that was written for it when the build was pinned.
"""

from __future__ import annotations

from typing import Any

from buildbot.process.results import SKIPPED
from silvermetal_proof.verdict import Outcome

from silvermetal_master.steps.judging import JudgingStep
from silvermetal_master.steps.of_build import REQUESTS_PROPERTY
from silvermetal_master.steps.rally import Rally


class TieBreak(Rally, JudgingStep):
    """Ask the reserve hosts when the others stand one against one."""

    name = "tie-break"
    description = ["asking a third host"]
    flunkOnFailure = False

    def __init__(self, *, reserve: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reserve = reserve

    async def run(self) -> int:
        """Ask, where there is a tie and somebody to ask."""
        record = self.asked_record()
        if record is None or not self.reserve:
            await self.say("no reserve host to ask")
            return SKIPPED
        verdict, _ = await self.decide(record)
        if verdict.outcome is not Outcome.DIVERGED or verdict.odd_one_out is not None:
            await self.say("no tie to break")
            return SKIPPED
        result = await self.rally()
        self.setProperty(REQUESTS_PROPERTY, {**self.getProperty(REQUESTS_PROPERTY), **self.requests}, "tie-break")
        await self.say(f"the hosts stood one against one: asked {', '.join(sorted(self.requests))} too")
        return result

    def getCurrentSummary(self) -> dict[str, str]:
        """While waiting."""
        return {"step": "a third host builds the same commit"}
