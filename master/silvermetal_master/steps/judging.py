"""Bringing the decision what it looks at: shared by the judge and by the tie-break.

Rules:

- The sealed statements of all hosts that were asked are opened together, and only here.
- The decision itself is ``silvermetal_proof.verdict.decide``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from silvermetal_proof.model import format_time
from silvermetal_proof.verdict import Policy, Submission, Verdict, decide
from silvermetal_proof.verdict.records import Case

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.settings import load
from silvermetal_master.steps.of_build import REQUESTS_PROPERTY, StepOfBuild
from silvermetal_master.steps.submissions import gather


class JudgingStep(StepOfBuild):
    """A step that can decide over this build. ``config`` is the folder of the master's settings."""

    def __init__(self, *, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def asked_record(self) -> BuildRecord | None:
        """The record of this build, if it came so far that hosts could be asked."""
        record = self.record_or_none()
        return record if record is not None and record.file("request.json").exists() else None

    async def _submissions(self, record: BuildRecord, reserve: tuple[str, ...]) -> tuple[Submission, ...]:
        requests = self.getProperty(REQUESTS_PROPERTY) or {}
        expired = any(getattr(step, "expired", False) for step in self.build.executedSteps)
        key = record.sealing_key()
        found = []
        for host in sorted(record.request.nonces):
            if host in requests:
                found.append(
                    await gather(
                        self.master, host=host, request=requests[host], build_id=record.id, key=key, expired=expired
                    )
                )
            elif host not in reserve:
                found.append(Submission(host, None, problem="was never asked: the fan-out was stopped", ours=True))
        return tuple(found)

    async def decide(self, record: BuildRecord) -> tuple[Verdict, tuple[Submission, ...]]:
        """The verdict as it stands now, and what it was made of."""
        settings = load(Path(self.config), judging=True)
        request = record.request
        submissions = await self._submissions(record, settings.policy.reserve)
        case = Case(
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
        return decide(case), submissions
