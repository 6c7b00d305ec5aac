"""Steps of the builder ``attribute``: *attribute* decides, *try* builds; and *start-attribution*, which starts it.

Rules:

- Started after the verdict was recorded, and nobody waits for it: the verdict stands, whatever comes of this.
- Each step looks at the record again (H3, H4). What was built is kept at once, so that a build of ``attribute`` that
  was interrupted (H7) goes on where it stood; a build that an interruption cut off is made again.
- Own deadline for all, own deadline for each build; a host that is away longer than policy's patience fails its build
  (H6). How the children ended is looked at by nobody (H1, H2): only their statements are.
- The end is written into the record and shown; it is green when something is known and yellow when it is open, and is
  no verdict either way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.process.results import CANCELLED, FAILURE, SKIPPED, SUCCESS, WARNINGS
from silvermetal_proof import ProofError
from silvermetal_proof.attribution import Ask, Conclusion, Inquiry, Kind, Tried, next_step, stopped
from silvermetal_proof.errors import printable
from silvermetal_proof.verdict import Outcome, Submission
from twisted.internet import defer
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.python import log

from silvermetal_master import attribution
from silvermetal_master.attribution import Round
from silvermetal_master.build_store import BuildRecord, NoSuchBuildError
from silvermetal_master.errors import SettingsError
from silvermetal_master.settings import Settings, load
from silvermetal_master.steps.explain import pair
from silvermetal_master.steps.of_build import ROUND_PROPERTY, StepOfBuild
from silvermetal_master.steps.rally import Rally
from silvermetal_master.steps.submissions import gather

END_PROPERTY = "silvermetal_attribution_end"
STOPPED_BY_MASTER = "Master Shutdown"
MARGIN_SECONDS = 900
"""What checkout, preflight and attest may take beside the build itself."""
LOOK_SECONDS = 1.0
_EXPECTED = (NoSuchBuildError, SettingsError, ProofError, OSError, ValueError)


def trial_scheduler(host: str) -> str:
    """The name of the scheduler that has one host build for an attribution."""
    return f"{host}-builds-again"


class StartAttribution(Rally):
    """At the end of ``verify``: start ``attribute`` for a build that diverged; nobody waits for it here."""

    name = "start-attribution"
    description = ["starting the attribution"]
    flunkOnFailure = False
    alwaysRun = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deadline=60, **kwargs)
        self.waitForFinish = False

    async def run(self) -> int:
        """Start it; whether there is anything to find out it decides by itself."""
        record = self.record_or_none()
        if record is None or not record.judged or record.verdict.outcome is not Outcome.DIVERGED or self.build.stopped:
            await self.say("nothing to attribute")
            return SKIPPED
        result = await self.rally()
        await self.say("builds that find out the guilty factor are started; the verdict stands whatever they say")
        return result


class _Attributing(StepOfBuild):
    """A step that works on an inquiry. ``config`` is the folder of the master's settings."""

    def __init__(self, *, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def _settings(self) -> Settings:
        return load(Path(self.config), judging=True)

    def _left(self) -> float:
        """Seconds until the whole attribution's deadline."""
        return float(self.getProperty(END_PROPERTY)) - float(self.master.reactor.seconds())


class Attribute(_Attributing):
    """Look at what was built, and ask for the builds that tell most, or conclude."""

    name = "attribute"
    description = ["finding the guilty factor"]
    alwaysRun = True
    warnOnWarnings = True
    said_of_build = ""

    def getBuildResultSummary(self) -> dict[str, str]:
        """The conclusion is what the whole build says of itself."""
        return (
            {"step": self.said, "build": self.said_of_build} if self.said_of_build else super().getBuildResultSummary()
        )

    async def run(self) -> int:
        """One look."""
        try:
            return await self._look()
        except _EXPECTED as error:
            why = f"no attribution: {printable(str(error), 1000)}"
            await self.say(why[:400], why)
            return FAILURE

    async def _look(self) -> int:
        if self.build.stopped_reason == STOPPED_BY_MASTER:
            await self.say("the master stops; this goes on when it is back")
            return SKIPPED
        settings, record = self._settings(), self.record()
        attribution.check_admissible(record)
        if settings.attribution.attribute != "on":
            raise SettingsError(f"{settings.folder / 'master.toml'}: attribution.attribute: expected on, got off")
        if record.file(attribution.REPORT).exists():
            await self.say("attributed already")
            return SKIPPED
        if self.getProperty(END_PROPERTY) is None:
            # Of a build that was interrupted: nobody waits for those answers any more.
            await deferToThread(attribution.close_rounds, record)
            self.setProperty(END_PROPERTY, self.master.reactor.seconds() + settings.attribution.deadline, "attribute")
        inquiry = attribution.load(record)
        if inquiry is None:
            inquiry = Inquiry(question=attribution.question_of(record, settings, *pair(record.verdict)))
            await deferToThread(attribution.save, record, inquiry)
        step = next_step(inquiry)
        if isinstance(step, Ask) and (why := self._why_no_more()):
            step = stopped(inquiry, why)
        if isinstance(step, Conclusion):
            return await self._end(record, inquiry, step)
        hosts = [inquiry.question.host_of(frozenset(b)) for b in step.builds]
        self._go_on(settings, step, hosts)
        await self.say(
            f"{len(inquiry.tried)} builds of {inquiry.question.budget} made; {', '.join(hosts)} builds again"
        )
        return SUCCESS

    def _why_no_more(self) -> str | None:
        if self.build.stopped:
            return f"somebody stopped it ({printable(self.build.stopped_reason or 'no reason given', 200)})"
        return "its time is up" if self._left() <= 0 else None

    def _go_on(self, settings: Settings, step: Ask, hosts: list[str]) -> None:
        common: dict[str, Any] = {"state": self.state, "config": self.config}
        deadline = min(self._left(), settings.policy.build_timeout + MARGIN_SECONDS)
        patience = settings.attribution.patience
        trial = Trial(
            builds=step.builds,
            deadline=max(1, int(deadline)),
            patience=patience,
            schedulerNames=[trial_scheduler(h) for h in hosts],
            **common,
        )
        self.build.addStepsAfterCurrentStep([trial, Attribute(**common)])

    async def _end(self, record: BuildRecord, inquiry: Inquiry, conclusion: Conclusion) -> int:
        said = await deferToThread(attribution.conclude, record, inquiry, conclusion)
        self.said_of_build = f"{conclusion.kind}: {said}"[:400]
        await self.say(self.said_of_build)
        report = attribution.report_of(record) or {}
        await self.addCompleteLog("report", str(report.get("text", "")))
        await self.addHTMLLog("attribution", record.file(attribution.PAGE).read_text(encoding="utf-8"))
        await self._tell_the_verification()
        return WARNINGS if conclusion.kind is Kind.OPEN else SUCCESS

    async def _tell_the_verification(self) -> None:
        """The sentence stands among the properties of the build that diverged, too; its own words stay as they are."""
        request = await self.master.data.get(("buildrequests", self.build.requests[0].id))
        buildset = await self.master.data.get(("buildsets", request["buildsetid"]))
        if (parent := buildset["parent_buildid"]) is not None:
            await self.master.data.updates.setBuildProperty(
                parent, "silvermetal_attribution", self.said_of_build, "attribute"
            )


class Trial(Rally, _Attributing):
    """One round of builds: hosts build again under the variations that were asked for."""

    name = "try"
    description = ["building again"]
    flunkOnFailure = False

    def __init__(self, *, builds: tuple[tuple[str, ...], ...], patience: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.builds = builds
        self.patience = patience
        self.round: Round | None = None
        self._away: dict[str, float] = {}
        self._missed: set[str] = set()

    def createTriggerProperties(self, properties: dict[str, Any]) -> Any:
        """The round's id travels too; the rest is in the record."""
        made = super().createTriggerProperties(properties)
        assert self.round is not None
        made.setProperty(ROUND_PROPERTY, self.round.id, "try")
        return made

    def getCurrentSummary(self) -> dict[str, str]:
        """While waiting."""
        return {"step": f"{', '.join(self._hosts)} builds again" if self.round is not None else "building again"}

    async def run(self) -> int:
        """Ask, wait, and keep what came."""
        try:
            return await self._try()
        except _EXPECTED as error:
            why = f"no build: {printable(str(error), 1000)}"
            await self.say(why[:400], why)
            return FAILURE

    async def _try(self) -> int:
        record = self.record()
        attribution.check_admissible(record)
        inquiry = attribution.load(record)
        if inquiry is None:
            raise NoSuchBuildError(f"build {record.id}: expected an inquiry that was begun, got none")
        question = inquiry.question
        self._hosts = [question.host_of(frozenset(b)) for b in self.builds]
        self.round = await deferToThread(Round.open, record, question, self.builds)
        self._workers = {entry.host: entry.worker for entry in self._settings().hosts}
        watch = LoopingCall(lambda: defer.ensureDeferred(self._look_for_hosts()))
        watch.clock = self.master.reactor
        watch.start(LOOK_SECONDS, now=False).addErrback(log.err, "looking for hosts")
        try:
            result = await self.rally()
            if result == CANCELLED:
                await self.say("stopped")
                return CANCELLED
            tried = [await self._answer(host, factors) for host, factors in zip(self._hosts, self.builds, strict=True)]
        finally:
            watch.stop()
            self.round.close()
        await deferToThread(attribution.save, record, inquiry.with_tried(*tried))
        await self.say("; ".join(self._told(question.host_of(frozenset(t.factors)), inquiry, t) for t in tried)[:400])
        return WARNINGS if any(t.digest is None for t in tried) else SUCCESS

    async def _answer(self, host: str, factors: tuple[str, ...]) -> Tried:
        assert self.round is not None
        if host in self.requests:
            submission = await gather(
                self.master,
                host=host,
                request=self.requests[host],
                build_id=self.round.id,
                key=self.round.sealing_key(),
                expired=self.expired,
            )
        else:
            submission = Submission(host, None, problem="was never asked", ours=True)
        if submission.envelope is None and host in self._missed:
            why = f"its worker was away for {self.patience} s"
            submission = Submission(host, submission.observation, problem=why, ours=True)
        return self.round.answer(self._settings(), factors, submission)

    def _told(self, host: str, inquiry: Inquiry, tried: Tried) -> str:
        variation = inquiry.question.variation_of(frozenset(tried.factors))
        how = f"{host} with {' '.join(variation.arguments)}" if variation else f"{host} as it is"
        if tried.digest is None:
            return f"{how}: no result: {tried.problem}"
        like = {
            inquiry.question.digests[1]: inquiry.question.other,
            inquiry.question.digests[0]: inquiry.question.reference,
        }
        return f"{how}: " + (f"the bytes of {like[tried.digest]}" if tried.digest in like else "other bytes than both")

    async def _look_for_hosts(self) -> None:
        """A host that is away longer than policy's patience has no build: its request would wait for ever (H6)."""
        now = self.master.reactor.seconds()
        for host in set(self._hosts) - self._missed:
            worker = self.master.workers.workers.get(self._workers.get(host, ""))
            if worker is not None and worker.conn is not None:
                self._away.pop(host, None)
            elif now - self._away.setdefault(host, now) >= self.patience:
                self._missed.add(host)
                await self._learn_requests()
                if host in self.requests:
                    path = ("buildrequests", self.requests[host])
                    await self.master.data.control("cancel", {"reason": "its worker is away"}, path)
