"""The scheduler of tags: every verification that an event or the reconciler asks for begins here, once.

Rules:

- One after the other (Buildbot's own lock over changes): a hook and the reconciler that come together start one.
- A tag whose verification is pending, runs or has ended is not started again, however often an event comes: who wants
  another one asks for it ("Verify a commit").
- A change that names another commit than the tag meant first is started: the pin step refuses it, where people look.
- What the tag means is noted before it is started, so that a tag that moves before its pin is known as moved.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from buildbot.data.resultspec import Filter
from buildbot.schedulers.basic import AnyBranchScheduler
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.tags import TagEntry
from twisted.internet import defer
from twisted.internet.threads import deferToThread
from twisted.python import log

from silvermetal_master.build_store import BuildStore
from silvermetal_master.errors import PinningError
from silvermetal_master.tag_book import TagBook

TAG_SCHEDULER = "tags"


def why_not(first: TagEntry, hint: str, *, running: bool, ended: bool) -> str | None:
    """Why a change starts nothing; None when it starts a verification."""
    if not first.means(hint):
        return None
    if running:
        return "its verification is pending or runs"
    if ended:
        return "its verification has ended"
    return None


async def buildsets_of(master: Any, ref: str) -> list[dict[str, Any]]:
    """Every set of builds that this scheduler started for a ref."""
    return list(await master.data.get(("buildsets",), filters=[Filter("external_idstring", "eq", [ref])]))


class TagScheduler(AnyBranchScheduler):
    """Buildbot's scheduler for changes, which looks what is there already. ``state`` is the folder of records."""

    state = ""
    consuming = False
    """Whether a change that is made now is seen."""

    def checkConfig(self, *, state: str, **kwargs: Any) -> None:
        """Buildbot's check."""
        super().checkConfig(**kwargs)

    def reconfigService(self, *, state: str, **kwargs: Any) -> Any:
        """Take the settings."""
        self.state = state
        return super().reconfigService(**kwargs)

    @defer.inlineCallbacks
    def activate(self) -> Generator[Any, Any, None]:
        """Buildbot says that a scheduler is active before it listens."""
        yield super().activate()
        self.consuming = True

    @defer.inlineCallbacks
    def deactivate(self) -> Generator[Any, Any, None]:
        """No longer."""
        self.consuming = False
        yield super().deactivate()

    @defer.inlineCallbacks
    def gotChange(self, change: Any, important: bool) -> Generator[Any, Any, None]:
        """Start a verification, or say in the log why not."""
        ref, hint = change.branch, change.revision
        try:
            why = yield deferToThread(self._known, ref, hint, (yield defer.ensureDeferred(self._runs(ref))))
        except (OSError, MalformedError, PinningError) as error:
            # Rather twice than never: the pin step refuses what must not be built.
            log.msg(f"{ref}: expected to look up what is known of it, got {error}; starting its verification")
            why = None
        if why is not None:
            log.msg(f"{ref} at {hint} starts nothing: {why}")
            return
        yield self.addBuildsetForChanges(
            reason=self.reason, external_idstring=ref, changeids=[change.number], priority=self.priority
        )

    async def _runs(self, ref: str) -> bool:
        return any(not buildset["complete"] for buildset in await buildsets_of(self.master, ref))

    def _known(self, ref: str, hint: str, running: bool) -> str | None:
        first = TagBook(Path(self.state)).saw(ref, hint)
        # Its end is noted before its builds are complete: looked for after them, none falls between.
        ended = BuildStore(Path(self.state)).newest(ref) is not None
        return why_not(first, hint, running=running, ended=ended)
