"""Step *explain*: where the bytes differ, say which file and field, in this same run.

Rules:

- Only after DIVERGED. The two hosts that the report is about make manifests of what they built, and no other host is
  asked (ADR 0015); the ISOs stay where they are.
- The comparison is ``silvermetal diff``, a process of its own (house rule 8) with a deadline; what it cannot do it
  says, and the verdict stands without it.
- The first host is compared with the first that built something else; with an odd one out, that host with another.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from buildbot.process.results import CANCELLED, SKIPPED, SUCCESS, WARNINGS
from silvermetal_proof.errors import printable
from silvermetal_proof.verdict import Outcome, Verdict
from twisted.internet.threads import deferToThread

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.steps.rally import Rally

DIFF_TIMEOUT = 600
_DIFFER = 1
LOG = "difference"
MAX_REPORT_BYTES = 32 * 1024 * 1024


def explain_scheduler(host: str) -> str:
    """The name of the scheduler that asks one host for its manifest."""
    return f"{host}-explains"


def pair(verdict: Verdict) -> tuple[str, str]:
    """The two hosts to compare: the odd one out with another, else the first two that differ."""
    valid = [h for h in verdict.hosts if h.valid]
    first = next((h for h in valid if h.host != verdict.odd_one_out), valid[0])
    # Where one digest goes with two sizes there is no other digest to look for: any other host will do.
    others = [h for h in valid if h.host != first.host]
    other = next((h for h in others if h.iso_sha256 != first.iso_sha256), others[0])
    return first.host, other.host


def compare(record: BuildRecord, a: str, b: str) -> dict[str, Any]:
    """Run ``silvermetal diff`` over two hosts' manifests and return its report.

    :raises RuntimeError: when there is no report, with the reason.
    """
    argv = [str(Path(sys.executable).with_name("silvermetal")), "diff"]
    argv += [str(record.file("manifests/{host}.json.gz", host)) for host in (a, b)]
    argv += ["--label-a", a, "--label-b", b]
    for side, host in (("a", a), ("b", b)):
        if (excerpt := record.file("excerpts/{host}.json.gz", host)).exists():
            argv += [f"--excerpt-{side}", str(excerpt)]
    argv += ["--json", str(record.file("difference.json")), "--html", str(record.file("difference.html"))]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=DIFF_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"silvermetal diff: expected an end within {DIFF_TIMEOUT} s, got none") from None
    if done.returncode != _DIFFER:
        said = done.stderr.decode(errors="replace").strip()[-400:]
        raise RuntimeError(f"silvermetal diff: expected exit code 1 (they differ), got {done.returncode}: {said}")
    report = record.file("difference.json")
    if report.stat().st_size > MAX_REPORT_BYTES:
        raise RuntimeError(f"report: expected at most {MAX_REPORT_BYTES} bytes, got {report.stat().st_size}")
    value = json.loads(report.read_bytes())
    if not isinstance(value, dict):
        raise RuntimeError("report: expected a JSON object")  # noqa: TRY004
    return value


class Explain(Rally):
    """On DIVERGED, ask the hosts for manifests and compare them."""

    name = "explain"
    description = ["finding out why the bytes differ"]
    flunkOnFailure = False
    alwaysRun = True

    def _wanted(self) -> BuildRecord | None:
        record = self.record_or_none()
        if record is None or not record.judged or record.verdict.outcome is not Outcome.DIVERGED:
            return None
        return record

    def getCurrentSummary(self) -> dict[str, str]:
        """While waiting."""
        return {"step": f"{len(self.brids)} hosts describe what they built" if self.brids else "comparing"}

    async def run(self) -> int:
        """Explain, or say why there is nothing to explain or no explanation."""
        record = self._wanted()
        if record is None or self.build.stopped:
            await self.say("nothing to explain")
            return SKIPPED
        a, b = pair(record.verdict)
        self.schedulerNames = [explain_scheduler(host) for host in (a, b)]
        if await self.rally() == CANCELLED:
            await self.say("stopped before the difference was explained")
            return WARNINGS
        missing = [h for h in (a, b) if not record.file("manifests/{host}.json.gz", h).exists()]
        if missing:
            await self.say(f"no explanation: {', '.join(missing)} sent no manifest of what it built")
            return WARNINGS
        try:
            report = await deferToThread(compare, record, a, b)
        except (RuntimeError, OSError, ValueError) as error:
            await self.say(f"no explanation: {printable(str(error), 300)}", str(error))
            return WARNINGS
        await self._show(record, report)
        return SUCCESS

    @staticmethod
    def load(record: BuildRecord) -> dict[str, Any] | None:
        """The report that is kept with the verdict, if one was made."""
        file = record.file("difference.json")
        if not file.exists() or file.stat().st_size > MAX_REPORT_BYTES:
            return None
        value = json.loads(file.read_bytes())
        return value if isinstance(value, dict) else None

    async def _show(self, record: BuildRecord, report: dict[str, Any]) -> None:
        """The summary as the step's text, the page as a log, and a link to the page alone, for a phone."""
        await self.say(printable(report.get("summary", "the images differ"), 400))
        html = record.file("difference.html")
        if html.exists() and html.stat().st_size <= MAX_REPORT_BYTES:
            await self.addHTMLLog(LOG, html.read_text(encoding="utf-8", errors="replace"))
            base = self.master.config.buildbotURL
            await self.addURL("what differs, on one page", f"{base}api/v2/steps/{self.stepid}/logs/{LOG}/raw_inline")
