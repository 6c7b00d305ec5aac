"""Step *judge*: open all sealed statements together, and decide.

Rules:

- Runs always, also after a cancelled fan-out: every build that asked the hosts ends with a verdict.
- Opens nothing before the fan-out is over; the sealing key is destroyed with the verdict.
- The decision is ``silvermetal_proof.verdict.decide``; this step only shows and keeps it.
"""

from __future__ import annotations

from buildbot.process.results import FAILURE, SKIPPED, SUCCESS, WARNINGS
from silvermetal_proof import ProofError
from silvermetal_proof.errors import printable
from silvermetal_proof.verdict import Outcome, Verdict, render

from silvermetal_master.build_store import NoSuchBuildError
from silvermetal_master.errors import SettingsError
from silvermetal_master.steps.judging import JudgingStep


def result_of(verdict: Verdict) -> int:
    """The build's colour. Only REPRODUCED is green; a development build may be yellow for want of independence."""
    if verdict.passed:
        return SUCCESS
    if verdict.outcome is Outcome.NOT_INDEPENDENT and not verdict.policy.release:
        return WARNINGS
    return FAILURE


class Judge(JudgingStep):
    """Decide over the statements of this build."""

    name = "judge"
    description = ["comparing what the hosts built"]
    alwaysRun = True
    flunkOnFailure = True
    warnOnWarnings = True
    judged = ""

    def getBuildResultSummary(self) -> dict[str, str]:
        """The verdict is also what the whole build says of itself, green or red."""
        return {"step": self.judged, "build": self.judged} if self.judged else super().getBuildResultSummary()

    async def run(self) -> int:
        """Judge, and say the verdict in one sentence."""
        record = self.asked_record()
        if record is None:
            await self.say("nothing to judge: the build could not be pinned")
            return SKIPPED
        try:
            verdict, submissions = await self.decide(record)
            for submission in submissions:
                if submission.envelope is not None:
                    record.write("statements/{host}.json", submission.envelope, host=submission.host)
            record.close(verdict)
        except (SettingsError, NoSuchBuildError, ProofError, OSError, ValueError) as error:
            # Whoever waits for this ref is told; a build that cannot be judged is never green.
            why = f"the build could not be judged: {printable(str(error), 1000)}"
            self.note_failure(record.request.ref, why, commit=record.request.commit, page=record.page)
            await self.say(why[:400], why)
            return FAILURE
        await self.say(f"{verdict.outcome}: {verdict.summary}"[:400])
        self.judged = self.said
        await self.addCompleteLog("verdict", render(verdict))
        return result_of(verdict)
