"""Step *look closer*: fetch the differing files' bytes from the two hosts, and explain once more.

Rules:

- Only after the manifests were compared and only what they found to differ: the ISOs stay where they are.
- Within a budget: manifests and excerpts together are one percent of one ISO, or half a MiB where that is more.
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
LEAST_BYTES, MOST_BYTES = 256 * 1024, 4 * 1024 * 1024
MAX_FILES = 500


def budget(iso: int, moved: int) -> int:
    """Bytes of files that each of two hosts may send; base64 makes them a third longer. All in bytes."""
    return min(MOST_BYTES, max(LEAST_BYTES, (iso // SHARE - moved) // 4))


def wanted(report: dict[str, Any], *, together: int) -> dict[str, Any] | None:
    """What to ask for: the files whose content differs. None when there are none."""
    rows = report.get("differences")
    found = [d for d in rows if isinstance(d, dict)] if isinstance(rows, list) else []
    paths = [d["layer_path"] for d in found if d.get("what") == "content" and isinstance(d.get("layer_path"), str)]
    asked = [{"layer_path": path, "what": "content"} for path in paths[:MAX_FILES]]
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

    def _ask(self, record: BuildRecord) -> bool:
        """Write what is wanted; whether anything is."""
        report = self.load(record)
        size = max(h.size or 0 for h in record.verdict.hosts)
        ask = wanted(report, together=budget(size, self._moved(record, ("manifests",)))) if report else None
        if ask is None:
            return False
        record.write(WANTED_FILE, canonical.encode(ask))
        return True

    async def run(self) -> int:
        """Look, or say why not."""
        record = self._wanted()
        if record is None or self.build.stopped or not await deferToThread(self._ask, record):
            await self.say("no file's bytes to look at")
            return SKIPPED
        if await self.rally() == CANCELLED:
            await self.say("stopped before the bytes were looked at")
            return WARNINGS
        a, b = pair(record.verdict)
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
