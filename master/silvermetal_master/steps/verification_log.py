"""Step *verification-log*: for a commit that changes a pin, the page that its reviewers ask for.

Rules:

- After the verdict is recorded, and whatever it is; it changes nothing: no pin, no repository, no verdict.
- Kept in the build's record (``verification-log.md``), so that `silvermetal-master verification-log` finds it again.
"""

from __future__ import annotations

from pathlib import Path

from buildbot.process.results import SKIPPED, SUCCESS, WARNINGS
from silvermetal_proof import ProofError, canonical
from silvermetal_proof.verdict import Verdict
from silvermetal_proof.verdict.verification_log import PinChange, matching_builds, verification_log
from twisted.internet.threads import deferToThread

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror
from silvermetal_master.pin_changes import pin_changes
from silvermetal_master.steps.of_build import StepOfBuild

PAGE = "verification-log.md"
CHANGES = "pin-changes.json"


def make_page(record: BuildRecord, state: Path) -> tuple[Verdict, list[PinChange], str]:
    """Read the changes, write both files, and return them. :raises PinningError: when git does not answer."""
    verdict = record.verdict
    mirror = Mirror(state / "mirror.git", verdict.repository)
    changes = pin_changes(mirror, verdict.commit, verdict.recipe)
    page = verification_log(verdict, changes)
    record.write(CHANGES, canonical.encode([change.plain() for change in changes]))
    record.write(PAGE, page.encode())
    return verdict, changes, page


class VerificationLog(StepOfBuild):
    """Make the page, where there is something to say."""

    name = "verification-log"
    description = ["writing the verification log"]
    alwaysRun = True
    flunkOnFailure = False

    async def run(self) -> int:
        """Make it."""
        record = self.record_or_none()
        if record is None or not record.judged:
            await self.say("nothing was verified")
            return SKIPPED
        try:
            verdict, changes, page = await deferToThread(make_page, record, Path(self.state))
        except (PinningError, ProofError, OSError) as error:
            await self.say(f"no verification log: {error}", str(error))
            return WARNINGS
        if not changes:
            await self.say("the commit changes no pin")
            return SUCCESS
        names = ", ".join(change.name.rpartition("/")[2] for change in changes)
        await self.addCompleteLog("verification-log.md", page)
        await self.say(f"{names}: {verdict.outcome}, {matching_builds(verdict)} matching builds")
        return SUCCESS
