"""Step *judge*: open all sealed statements together, and decide.

Rules:

- Runs always, also after a cancelled fan-out: every build that asked the hosts ends with a verdict.
- Opens nothing before the fan-out is over; the sealing key is destroyed with the verdict.
- The decision is ``silvermetal_proof.verdict.decide``; this step only brings it what it looks at.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SKIPPED, SUCCESS, WARNINGS
from silvermetal_proof.model import format_time
from silvermetal_proof.verdict import Outcome, Policy, Submission, Verdict, decide, render
from silvermetal_proof.verdict.records import Case

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.settings import load
from silvermetal_master.steps.of_build import REQUESTS_PROPERTY, StepOfBuild
from silvermetal_master.steps.submissions import gather


def result_of(verdict: Verdict) -> int:
    """The build's colour. Only REPRODUCED is green; a development build may be yellow for want of independence."""
    if verdict.passed:
        return SUCCESS
    if verdict.outcome is Outcome.NOT_INDEPENDENT and not verdict.policy.release:
        return WARNINGS
    return FAILURE


class Judge(StepOfBuild):
    """Decide over the statements of this build. ``config`` is the folder of the master's settings."""

    name = "judge"
    description = ["comparing what the hosts built"]
    alwaysRun = True
    flunkOnFailure = True
    warnOnWarnings = True

    judged = ""

    def __init__(self, *, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def getBuildResultSummary(self) -> dict[str, str]:
        """The verdict is also what the whole build says of itself, green or red."""
        return {"step": self.judged, "build": self.judged} if self.judged else super().getBuildResultSummary()

    async def _submissions(self, record: BuildRecord) -> tuple[Submission, ...]:
        requests = self.getProperty(REQUESTS_PROPERTY) or {}
        expired = any(getattr(step, "expired", False) for step in self.build.executedSteps)
        key = record.sealing_key()
        found = []
        for host in sorted(record.request.nonces):
            if host in requests:
                found.append(
                    await gather(
                        self.master,
                        host=host,
                        request=requests[host],
                        build_id=record.id,
                        key=key,
                        expired=expired,
                    )
                )
            else:
                found.append(Submission(host, None, problem="was never asked: the fan-out was stopped", ours=True))
        return tuple(found)

    async def run(self) -> int:
        """Judge, and say the verdict in one sentence."""
        record = self.record_or_none()
        if record is None or not record.file("request.json").exists():
            await self.say("nothing to judge: the build could not be pinned")
            return SKIPPED
        settings = load(Path(self.config))
        request = record.request
        submissions = await self._submissions(record)
        verdict = decide(
            Case(
                request=request,
                submissions=submissions,
                policy=Policy(
                    quorum=settings.policy.quorum,
                    min_independence=settings.policy.min_independence,
                    size_floor=record.size_floor,
                    release=request.ref.startswith("refs/tags/"),
                ),
                hosts=settings.hosts,
                operators=settings.operators,
                at=format_time(datetime.now(UTC)),
            )
        )
        for submission in submissions:
            if submission.envelope is not None:
                record.write("statements/{host}.json", submission.envelope, host=submission.host)
        record.close(verdict)
        await self.say(f"{verdict.outcome}: {verdict.summary}"[:400])
        self.judged = self.said
        await self.addCompleteLog("verdict", render(verdict))
        return result_of(verdict)
