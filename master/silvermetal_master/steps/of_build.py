"""What every step of ours has: the record of the build it belongs to.

Rules:

- The build's id is a property that the pin step sets and the fan-out hands on; it is checked each time it is used, for
  a forced or rebuilt child may carry any (H3, H4).
- A step fails with a sentence in its text and log; a traceback is for what nobody foresaw.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from buildbot.process.buildstep import BuildStep
from silvermetal_proof.model import format_time
from twisted.python import log

from silvermetal_master.build_store import BuildRecord, BuildStore, NoSuchBuildError

BUILD_PROPERTY = "silvermetal_build"
"""The property that names the build's record."""
REQUESTS_PROPERTY = "silvermetal_requests"
"""The property that names the requests that the fan-out created: host to request id."""

ROUND_PROPERTY = "silvermetal_round"
"""The property that names a round of builds that explain a divergence."""

NOTE_AGAIN_SECONDS = 10


class StepOfBuild(BuildStep):
    """A step with access to the build store in ``state`` (a folder of the master)."""

    def __init__(self, *, state: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state = state
        self.said = ""

    @property
    def store(self) -> BuildStore:
        """All records of this master."""
        return BuildStore(Path(self.state))

    def record(self) -> BuildRecord:
        """This build's record. :raises NoSuchBuildError: when the build has none."""
        return self.store.record(self.getProperty(BUILD_PROPERTY))

    def record_or_none(self) -> BuildRecord | None:
        """This build's record, or None when it never got one (a build that could not be pinned)."""
        try:
            return self.record()
        except NoSuchBuildError:
            return None

    def note_failure(self, ref: str, why: str, *, commit: str | None = None, page: str = "") -> None:
        """Note why ``ref`` has no verdict; where nothing can be written now, as soon as it can be.

        ``commit``, where it is known, and ``page``, where people see it, are for those who are told.
        """
        entry = {"failed": why, "at": format_time(datetime.now(UTC)), "page": page}
        _note_when_possible(self.master.reactor, self.store, ref, entry | ({"commit": commit} if commit else {}))

    async def say(self, sentence: str, details: str = "") -> None:
        """Make ``sentence`` the step's text, and keep ``details`` in a log."""
        self.said = sentence
        if details:
            await self.addCompleteLog("details", details)

    def getResultSummary(self) -> dict[str, str]:
        """The sentence that the step said, for the waterfall."""
        return {"step": self.said} if self.said else super().getResultSummary()


def _note_when_possible(reactor: Any, store: BuildStore, ref: str, entry: dict[str, str]) -> None:
    """Neither a full disk nor a lack of descriptors may hide the step's sentence or leave the ref without an end."""
    try:
        store.note(ref, entry)
    except OSError as error:
        log.msg(f"{ref}: expected to note {entry['failed']!r}, got {error}; trying again in {NOTE_AGAIN_SECONDS} s")
        reactor.callLater(NOTE_AGAIN_SECONDS, _note_when_possible, reactor, store, ref, entry)
