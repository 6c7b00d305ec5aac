"""Counting what Buildbot says has ended: builds by outcome, stages by duration, verifications by latency.

Rules:

- Kinds, stages and outcomes are known names; anything else counts as ``other``.
- Counts begin with the process; verdicts alone are counted over all time, from the ledger (``survey``).
- A message that cannot be counted is logged and ends nothing.
"""

from __future__ import annotations

from typing import Any

from buildbot.process.results import Results
from twisted.internet import defer
from twisted.python import log

from silvermetal_master.builders import PUBLISH, VERIFY
from silvermetal_master.monitoring.exposition import OTHER, Family

KINDS = frozenset({VERIFY, PUBLISH, "iso", "explain", "excerpt", "deliver"})
STAGES = frozenset(
    (
        "pin", "fan-out", "tie-break", "judge", "explain", "look-closer", "record", "start-publish",
        "handover", "checkout", "preflight", "build", "audit", "attest", "collect",
        "manifest", "excerpt", "handover-delivery", "admit", "fetch", "assemble", "release", "deliver",
    )
)  # fmt: skip


class Tally:
    """The families that count events of ``master``."""

    def __init__(self, master: Any) -> None:
        self._master = master
        self._consumers: list[Any] = []
        self.builds = Family(
            "silvermetal_builds_total",
            "counter",
            "Builds that ended since the master began, by kind and Buildbot's result.",
            {"kind": KINDS, "result": frozenset(Results)},
        )
        self.stages = Family(
            "silvermetal_stage_seconds", "histogram", "How long stages (steps) took.", {"stage": STAGES}
        )
        self.latency = Family(
            "silvermetal_verification_seconds",
            "histogram",
            "From the event that asked for a verification to its end, by Buildbot's result.",
            {"result": frozenset(Results)},
        )

    @property
    def families(self) -> list[Family]:
        """All of them."""
        return [self.builds, self.stages, self.latency]

    @defer.inlineCallbacks
    def start(self) -> Any:
        """Listen."""
        for path, heard in ((("builds", None, "finished"), self._build), (("steps", None, "finished"), self._step)):
            self._consumers.append((yield self._master.mq.startConsuming(heard, path)))

    @defer.inlineCallbacks
    def stop(self) -> Any:
        """Listen no more."""
        while self._consumers:
            yield self._consumers.pop().stopConsuming()

    def _step(self, _key: Any, step: dict[str, Any]) -> None:
        if step["started_at"] is not None and step["complete_at"] is not None:
            took = (step["complete_at"] - step["started_at"]).total_seconds()
            self.stages.observe(took, stage=step["name"])

    def _build(self, _key: Any, build: dict[str, Any]) -> Any:
        counted = defer.ensureDeferred(self._count(build))
        return counted.addErrback(log.err, "a build could not be counted")

    async def _count(self, build: dict[str, Any]) -> None:
        builder = await self._master.data.get(("builders", build["builderid"]))
        kind = str(builder["name"]).partition("@")[0] if builder is not None else OTHER
        result = Results[build["results"]] if build["results"] is not None else OTHER
        self.builds.add(kind=kind, result=result)
        if kind == VERIFY and build["complete_at"] is not None:
            request = await self._master.data.get(("buildrequests", build["buildrequestid"]))
            waited = (build["complete_at"] - request["submitted_at"]).total_seconds()
            self.latency.observe(max(0.0, waited), result=result)
