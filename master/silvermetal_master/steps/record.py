"""Step *record*: sign the verdict and append it to the ledger, whatever the outcome.

Rules:

- Runs always; a verdict that was decided is recorded even when somebody stops the build.
- The envelope is written before the ledger, the ledger before the note by which people find it; a crash between leaves
  a verdict that is recorded again, never one that is lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SKIPPED, SUCCESS
from silvermetal_proof import ProofError
from twisted.internet.threads import deferToThread

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.errors import SettingsError
from silvermetal_master.recording import enter
from silvermetal_master.settings import load
from silvermetal_master.steps.of_build import StepOfBuild


class Record(StepOfBuild):
    """Sign and record. ``config`` is the folder of the master's settings."""

    name = "record"
    description = ["recording the verdict"]
    alwaysRun = True
    flunkOnFailure = True

    def __init__(self, *, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def _record(self, record: BuildRecord) -> int:
        """Sign, append, note; on a thread (it syncs files). Returns the ledger's index."""
        settings = load(Path(self.config), judging=True)
        index = enter(record, settings, Path(self.state))
        self.store.note(record.request.ref, {"build": record.id, "ledger": index})
        return index

    async def run(self) -> int:
        """Record, and say where."""
        record = self.record_or_none()
        if record is None or not record.judged:
            await self.say("nothing to record")
            return SKIPPED
        try:
            index = await deferToThread(self._record, record)
        except (ProofError, SettingsError, OSError) as error:
            why = f"the verdict could not be recorded: {error}"
            self.note_failure(record.request.ref, why, commit=record.request.commit, page=record.page)
            await self.say(f"the verdict could not be recorded: {error}", str(error))
            return FAILURE
        await self.say(f"signed and recorded as entry {index} of the ledger")
        return SUCCESS
