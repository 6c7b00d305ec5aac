"""Bringing the decision what it looks at: shared by the judge and by the tie-break.

Rules:

- The sealed statements of all hosts that were asked are opened together, and only here.
- The decision itself is ``silvermetal_proof.verdict.decide``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silvermetal_proof.errors import SignatureError
from silvermetal_proof.verdict import Submission, Verdict, decide

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.case_of import case_of
from silvermetal_master.settings import Settings, load
from silvermetal_master.steps.of_build import REQUESTS_PROPERTY, StepOfBuild
from silvermetal_master.steps.submissions import gather


def _shut_out(submission: Submission, settings: Settings) -> Submission:
    """A host that was revoked in mid-build was cut off and could not answer: that is its answer, and the reason."""
    entry = settings.host(submission.host)
    if entry is None or entry.revoked is None or submission.envelope is not None or submission.broken is not None:
        return submission
    got = f"revoked {entry.revoked}"
    revoked = SignatureError(f"key of host {entry.host} is revoked", expected="a key that is not revoked", got=got)
    return Submission(submission.host, submission.observation, broken=str(revoked))


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
        submissions = await self._submissions(record, settings.policy.reserve)
        submissions = tuple(_shut_out(s, settings) for s in submissions)
        return decide(case_of(record, settings, submissions)), submissions
