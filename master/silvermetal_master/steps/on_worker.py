"""Steps that run one command of ``silvermetal-worker`` on the host.

Rules:

- Each has a limit for silence (mksquashfs says nothing for minutes) and for the whole; the worker ends the process
  group.
- The environment is not logged (``logEnviron``): logs are public.
- Texts are sentences; exit codes have meanings that ``silvermetal-worker`` shares with ``scripts/build.sh``.
"""

from __future__ import annotations

import time
from typing import Any

from buildbot.interfaces import IRenderable
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.results import SUCCESS, WARNINGS
from buildbot.steps.shell import ShellCommand
from silvermetal_proof.errors import printable
from zope.interface import implementer

from silvermetal_master.steps.handover import LOCK_FILE, ORDER_FILE, WANTED_FILE
from silvermetal_master.steps.of_build import BUILD_PROPERTY

STATEMENT_FILE = "statement.sealed"
MANIFEST_FILE = "manifest.json.gz"
EXCERPT_FILE = "excerpt.json.gz"
PREFLIGHT_SECONDS = 2400
"""The builder image may have to be brought first."""
# Commands run in the checkout; what they take and leave lies beside it, so that the tree stays clean.
_ORDER = f"../{ORDER_FILE}"
_OUTPUT = "../output"
_SPEAKER = "silvermetal-worker: "
_ENDS = {
    2: "the call was wrong",
    3: "it failed",
    4: "a pin was refused",
    5: "the host is not ready",
    6: "findings",
    7: "the registry did not take it",
    124: "its time was up",
}


class _LastWord(LogLineObserver):
    """Keeps the last line in which ``silvermetal-worker`` says why it ended: the reason that a step's text gives."""

    said = ""

    def errLineReceived(self, line: str) -> None:
        """One line of standard error; it comes from a host and is bounded and cleaned."""
        if line.startswith(_SPEAKER):
            self.said = printable(line.removeprefix(_SPEAKER), 300)


class _WorkerCommand(ShellCommand):
    """One command. ``seconds`` limits the whole; silence is allowed as long."""

    haltOnFailure = True
    flunkOnFailure = True
    doing = ""
    done = ""
    _exit_code: int | None = None
    _last: _LastWord | None = None

    def __init__(self, *, seconds: int, **kwargs: Any) -> None:
        super().__init__(logEnviron=False, timeout=seconds, maxTime=seconds, sigtermTime=15, usePTY=False, **kwargs)

    def getCurrentSummary(self) -> dict[str, str]:
        """While it runs."""
        return {"step": self.doing}

    def getResultSummary(self) -> dict[str, str]:
        """When it has ended."""
        if self.results == SUCCESS:
            return {"step": self.done}
        code = self._exit_code
        meaning = _ENDS.get(code, "it did not end well") if code is not None else "it did not end well"
        why = f": {self._last.said}" if self._last is not None and self._last.said else ""
        return {"step": f"{self.doing}: {meaning}{why}"}

    async def run(self) -> int:
        """Run it and keep the exit code for the text."""
        self._exit_code = None
        self._last = _LastWord()
        self.addLogObserver("stdio", self._last)
        command = await self.makeRemoteShellCommand()
        await self.runCommand(command)
        self._exit_code = command.rc
        return command.results()


@implementer(IRenderable)
class _MasterTime:
    """The master's clock when the step starts, in seconds: the host compares its own with it."""

    def getRenderingFor(self, _props: Any) -> str:
        return f"{time.time():.3f}"


class Preflight(_WorkerCommand):
    """Is the host ready?"""

    name = "preflight"
    doing = "looking whether the host is ready"
    done = "the host is ready"

    def __init__(self, **kwargs: Any) -> None:
        command = ["silvermetal-worker", "preflight", "--order", _ORDER, "--master-time", _MasterTime()]
        super().__init__(seconds=PREFLIGHT_SECONDS, command=command, **kwargs)


class Build(_WorkerCommand):
    """Build the ISO."""

    name = "build"
    doing = "building the ISO"
    done = "the ISO is built; its hash stays sealed until the verdict"

    def __init__(self, *, seconds: int, **kwargs: Any) -> None:
        command = ["silvermetal-worker", "build", "--order", _ORDER, "--lock", f"../{LOCK_FILE}", "--output", _OUTPUT]
        super().__init__(seconds=seconds + 120, command=command, **kwargs)


class Audit(_WorkerCommand):
    """Prove the levers in the ISO, and search it for traces of the host. A finding warns; the recipe may make it fail.

    The build stays green on a warning: bytes decide, and a leak shows where the hosts differ (``AUDIT`` in the recipe).
    """

    name = "audit"
    doing = "auditing the ISO"
    done = "every lever shows in the ISO, nothing of the host does"
    warnOnWarnings = False

    def __init__(self, **kwargs: Any) -> None:
        command = ["silvermetal-worker", "audit", "--order", _ORDER, "--output", _OUTPUT]
        super().__init__(seconds=1000, command=command, decodeRC={0: SUCCESS, 6: WARNINGS}, **kwargs)


class Attest(_WorkerCommand):
    """Hash, sign, seal."""

    name = "attest"
    doing = "signing what was built"
    done = "signed and sealed"

    def __init__(self, **kwargs: Any) -> None:
        command = ["silvermetal-worker", "attest", "--order", _ORDER, "--output", _OUTPUT]
        command += ["--statement", f"../{STATEMENT_FILE}"]
        super().__init__(seconds=1800, command=command, **kwargs)


class MakeManifest(_WorkerCommand):
    """Describe the ISO of a build that diverged."""

    name = "manifest"
    doing = "describing what this host built"
    done = "described"

    def __init__(self, **kwargs: Any) -> None:
        from buildbot.process.properties import Property

        command = ["silvermetal-worker", "manifest", Property(BUILD_PROPERTY), "-o", f"../{MANIFEST_FILE}"]
        super().__init__(seconds=1200, command=command, **kwargs)


class MakeExcerpt(_WorkerCommand):
    """Take from the ISO the first bytes of the files that differ."""

    name = "excerpt"
    doing = "taking the bytes that differ"
    done = "taken"

    def __init__(self, **kwargs: Any) -> None:
        from buildbot.process.properties import Property

        command = ["silvermetal-worker", "excerpt", Property(BUILD_PROPERTY), "--want", f"../{WANTED_FILE}"]
        super().__init__(seconds=1200, command=[*command, "-o", f"../{EXCERPT_FILE}"], **kwargs)
