"""Step *look closer*: fetch the differing files' bytes from the two hosts, and explain once more.

Rules:

- Only after the manifests were compared and only what they found to differ, from the two hosts that the report is
  about: the ISOs stay where they are.
- Within a budget (ADR 0015): manifests and excerpts together are one percent of one ISO, or `FLOOR_BYTES` where that is
  more. Where the manifests took all of it, no bytes are asked for, and that is said.
- Without it the explanation by manifests stands; what came is kept with the verdict.
"""

from __future__ import annotations

from typing import Any

from buildbot.process.results import CANCELLED, SKIPPED, SUCCESS, WARNINGS
from silvermetal_proof import canonical
from silvermetal_proof.errors import printable
from twisted.internet.threads import deferToThread

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.steps.explain import Explain, compare, pair
from silvermetal_master.steps.handover import WANTED_FILE

SHARE = 100
"""One part in so many of an ISO may travel."""
FLOOR_BYTES = 256 * 1024
"""What may travel for an ISO below 25 MiB, of which one percent is no more than a manifest."""
LEAST_BYTES, MOST_BYTES = 1024, 4 * 1024 * 1024
"""Of one host's files: below, nothing is asked for; above, nobody would read it."""
MAX_FILES = 500


def excerpt_scheduler(host: str) -> str:
    """The name of the scheduler that asks one host for bytes."""
    return f"{host}-shows-bytes"


def bound(iso: int) -> int:
    """Bytes that may travel to explain one build whose ISO has ``iso`` bytes."""
    return max(FLOOR_BYTES, iso // SHARE)


def budget(iso: int, moved: int) -> int:
    """Bytes of files that each of two hosts may send; base64 makes them a third longer. All in bytes; 0 is none."""
    each = (bound(iso) - moved) // 4
    return min(MOST_BYTES, each) if each >= LEAST_BYTES else 0


def wanted(report: dict[str, Any], *, together: int) -> dict[str, Any] | None:
    """What to ask for: the files whose content differs, and from which byte on. None when there are none."""
    rows = report.get("differences")
    found = [d for d in rows if isinstance(d, dict)] if isinstance(rows, list) else []
    files = [d for d in found if d.get("what") == "content" and isinstance(d.get("layer_path"), str)]
    asked = []
    for d in files[:MAX_FILES]:
        asked.append({"layer_path": d["layer_path"], "what": "content"})
        if isinstance(begins := d.get("differs_from"), int) and begins > 0:
            asked[-1]["differs_from"] = begins
    return {"differences": asked, "together": together} if asked else None


class LookCloser(Explain):
    """After the manifests were compared, ask the two hosts for the bytes that differ and compare again."""

    name = "look-closer"
    description = ["looking at the bytes that differ"]

    def getCurrentSummary(self) -> dict[str, str]:
        """While waiting."""
        return {"step": "the hosts send the bytes that differ" if self.brids else "comparing"}

    def _moved(self, record: BuildRecord, kinds: tuple[str, ...]) -> int:
        """Bytes that came for the explanation."""
        return sum(p.stat().st_size for kind in kinds for p in record.file(kind).glob("*.json.gz"))

    def _ask(self, record: BuildRecord) -> str:
        """Write what is wanted; why nothing is, or an empty text."""
        report = self.load(record)
        size = max(h.size or 0 for h in record.verdict.hosts)
        moved = self._moved(record, ("manifests",))
        together = budget(size, moved)
        ask = wanted(report, together=together) if report else None
        if ask is None:
            return "no file's bytes to look at"
        if not together:
            return (
                f"the explanation stays by names and digests: they took {moved} of {bound(size)} bytes that may travel"
            )
        record.write(WANTED_FILE, canonical.encode(ask))
        return ""

    async def run(self) -> int:
        """Look, or say why not."""
        record = self._wanted()
        if record is None or self.build.stopped:
            await self.say("no file's bytes to look at")
            return SKIPPED
        if why_not := await deferToThread(self._ask, record):
            await self.say(why_not)
            return SKIPPED
        a, b = pair(record.verdict)
        self.schedulerNames = [excerpt_scheduler(host) for host in (a, b)]
        if await self.rally() == CANCELLED:
            await self.say("stopped before the bytes were looked at")
            return WARNINGS
        if missing := [h for h in (a, b) if not record.file("excerpts/{host}.json.gz", h).exists()]:
            await self.say(f"the explanation stays by names and digests: {', '.join(missing)} sent no bytes")
            return WARNINGS
        try:
            report = await deferToThread(compare, record, a, b)
        except (RuntimeError, OSError, ValueError) as error:
            await self.say(f"the bytes could not be compared: {printable(str(error), 300)}", str(error))
            return WARNINGS
        await self._show(record, report)
        moved, size = self._moved(record, ("manifests", "excerpts")), max(h.size or 0 for h in record.verdict.hosts)
        await self.say(
            f"{self.said[:300]} (looked at by {moved} bytes of the hosts, {100 * moved / size:.2f} % of one ISO)"
        )
        return SUCCESS
