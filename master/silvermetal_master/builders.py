"""The builders: ``verify`` on the master, ``iso@<host>``, ``explain@<host>`` and ``excerpt@<host>`` on each host.

Rules:

- One builder a host, bound to that host's one worker (DESIGN; facts: host pinning): two builds of one verification
  cannot share a host.
- The coordinator never shares a worker with the hosts (deadlock), and is never quarantined for a verdict.
"""

from __future__ import annotations

from typing import Any

from buildbot.plugins import util
from buildbot.process.build import Build
from buildbot.process.factory import BuildFactory
from buildbot.process.results import RETRY
from buildbot.steps.source.git import Git
from silvermetal_proof.host import HostEntry

from silvermetal_master import steps
from silvermetal_master.host_build import on_host
from silvermetal_master.settings import Settings
from silvermetal_master.steps.explain import explain_scheduler
from silvermetal_master.steps.look_closer import excerpt_scheduler

VERIFY = "verify"
ISO_SCHEDULER = "every-host-builds"
TIE_SCHEDULER = "the-reserve-builds"
EXPLAIN_DEADLINE = 1800
STOPPED_BY_MASTER = "Master Shutdown"
"""The reason that Buildbot gives to builds when it stops (process/botmaster.py)."""
ATTRIBUTE = "attribute"
ATTRIBUTION_SCHEDULER = "a-divergence-is-attributed"
IMAGE_BUILDER = "builder-image"
IMAGE_SCHEDULER = "the-builder-image-is-made"
PUBLISH = "publish"
PUBLISH_SCHEDULER = "the-release-is-published"
PUBLISHER = "coordinator-0"
"""The master's own worker for ``publish``: a verification that waits never keeps a release from going on."""
DELIVERY_DEADLINE = 4 * 3600
GIT_SILENCE_SECONDS = 600


def iso_builder(host: str) -> str:
    """The name of a host's builder."""
    return f"iso@{host}"


def explain_builder(host: str) -> str:
    """The name of a host's second builder, which describes what the first one built."""
    return f"explain@{host}"


def deliver_builder(host: str) -> str:
    """The name of a host's fourth builder, which sends the ISO to the master."""
    return f"deliver@{host}"


def deliver_scheduler(host: str) -> str:
    """The name of the scheduler that starts it."""
    return f"{host}-delivers"


def excerpt_builder(host: str) -> str:
    """The name of a host's third builder, which hands out the bytes that differ."""
    return f"excerpt@{host}"


def trial_builder(host: str) -> str:
    """The name of a host's builder for an attribution."""
    return f"attribute@{host}"


def attributes(settings: Settings) -> bool:
    """Whether divergences are attributed."""
    return settings.attribution.attribute == "on"


def attributor(settings: Settings) -> str:
    """The master's own worker for ``attribute``: it may take days, and keeps nothing else from going on."""
    return f"coordinator-{settings.master.verifications + 1}"


def coordinator_names(settings: Settings) -> list[str]:
    """The master's own workers: one a verification that may run at once."""
    return [f"coordinator-{number}" for number in range(1, settings.master.verifications + 1)]


def active_hosts(settings: Settings) -> tuple[HostEntry, ...]:
    """Hosts that may be asked: enrolled and not revoked."""
    return tuple(h for h in settings.hosts if h.revoked is None)


def reserve_hosts(settings: Settings) -> tuple[HostEntry, ...]:
    """Hosts that are asked only to break a tie."""
    return tuple(h for h in active_hosts(settings) if h.host in settings.policy.reserve)


def _see_to_image(settings: Settings, resolving: dict[str, Any]) -> list[Any]:
    """The first step of ``verify``, where this master has images made."""
    image = settings.builder_image
    if image is None:
        return []
    bound: dict[str, Any] = {"tries": image.tries, "pause": image.pause, "deadline": image.deadline}
    return [
        steps.BuilderImage(schedulerNames=[IMAGE_SCHEDULER], repository_name=image.repository, **bound, **resolving)
    ]


def _checkout(settings: Settings) -> Git:
    """A clean checkout of the commit, for the builder image: ``docker/`` is in our own tree."""
    return Git(
        name="checkout",
        description=["checking out the commit"],
        descriptionDone=["the commit is checked out"],
        repourl=settings.repository.url,
        mode="full",
        method="clobber",
        submodules=False,
        alwaysUseLatest=False,
        logEnviron=False,
        timeout=GIT_SILENCE_SECONDS,
        haltOnFailure=True,
    )


def _make_image(settings: Settings, state: str) -> list[Any]:
    """``builder-image``; none where this master has no images made."""
    image = settings.builder_image
    entry = settings.host(image.host) if image is not None else None
    if entry is None:
        return []
    factory = BuildFactory(
        [
            steps.HandoverImage(host=entry.host, state=state),
            _checkout(settings),
            steps.MakeImage(),
            steps.CollectImage(state=state),
        ]
    )
    return [
        util.BuilderConfig(
            name=IMAGE_BUILDER,
            description=f"makes the builder image on {entry.host} and pushes it",
            tags=["builder-image"],
            workernames=[entry.worker],
            factory=on_host(factory),
            collapseRequests=False,
        )
    ]


def _verify(settings: Settings, state: str) -> BuildFactory:
    common: dict[str, Any] = {"state": state}
    config = str(settings.folder)
    resolving: dict[str, Any] = {
        "repository": settings.repository.url,
        "signers": str(settings.signers),
        "signed_tags": settings.policy.signed_tags.value,
        **common,
    }
    hosts = [h.host for h in active_hosts(settings)]
    return BuildFactory(
        [
            *_see_to_image(settings, resolving),
            steps.Pin(
                recipe=settings.recipe,
                workers={h.host: h.worker for h in active_hosts(settings)},
                build_timeout=settings.policy.build_timeout,
                variations={h: v.plain() for h, v in settings.variation.items() if v},
                config=config,
                **resolving,
            ),
            steps.FanOut(schedulerNames=[ISO_SCHEDULER], deadline=settings.policy.deadline, **common),
            steps.TieBreak(
                schedulerNames=[TIE_SCHEDULER],
                deadline=settings.policy.deadline,
                reserve=len(reserve_hosts(settings)),
                config=config,
                **common,
            ),
            steps.Judge(config=config, **common),
            # Both ask two of these hosts: those that the verdict tells apart.
            steps.Explain(schedulerNames=[explain_scheduler(h) for h in hosts], deadline=EXPLAIN_DEADLINE, **common),
            steps.LookCloser(schedulerNames=[excerpt_scheduler(h) for h in hosts], deadline=EXPLAIN_DEADLINE, **common),
            steps.Record(config=config, **common),
            steps.VerificationLog(**common),
            *(
                [steps.StartAttribution(schedulerNames=[ATTRIBUTION_SCHEDULER], **common)]
                if attributes(settings)
                else []
            ),
            *([steps.StartPublish(schedulerNames=[PUBLISH_SCHEDULER], **common)] if settings.receive else []),
        ]
    )


class ResumableBuild(Build):
    """A verification that the master's stop ended is asked for again; Buildbot alone would end it CANCELLED (H7)."""

    def allStepsDone(self) -> Any:
        """RETRY, whatever the interrupted step said."""
        if self.stopped_reason == STOPPED_BY_MASTER:
            self.results = RETRY
        return super().allStepsDone()


def _resumable(factory: BuildFactory) -> BuildFactory:
    factory.buildClass = ResumableBuild
    return factory


def _iso(settings: Settings, handover: Any, audit: list[Any], state: str) -> BuildFactory:
    """One build on a host, from order to sealed statement."""
    return BuildFactory(
        [
            handover,
            steps.Checkout(repourl=settings.repository.url, timeout=GIT_SILENCE_SECONDS, state=state),
            steps.Preflight(),
            steps.Build(seconds=settings.policy.build_timeout),
            *audit,
            steps.Attest(),
            steps.CollectStatement(state=state),
        ]
    )


def _explain(host: str, state: str) -> BuildFactory:
    return BuildFactory([steps.MakeManifest(), steps.CollectManifest(host=host, state=state)])


def _publish(settings: Settings, state: str) -> list[Any]:
    """``publish`` and the builders that deliver to it; none where nothing is published."""
    if settings.receive is None:
        return []
    common: dict[str, Any] = {"state": state, "config": str(settings.folder)}
    hosts = [entry.host for entry in active_hosts(settings)]
    fetch = steps.Fetch(schedulerNames=[deliver_scheduler(h) for h in hosts], deadline=DELIVERY_DEADLINE, **common)
    last = [steps.Release(**common)] if settings.gitea is not None else []
    if settings.release is not None:
        last.append(steps.Shelve(**common))
    builders = [
        util.BuilderConfig(
            name=PUBLISH,
            description="one proven release",
            tags=["publish"],
            workernames=[PUBLISHER],
            factory=BuildFactory([steps.Admit(**common), fetch, steps.Assemble(**common), *last]),
            locks=[util.MasterLock("publish").access("exclusive")],
            collapseRequests=False,
        )
    ]
    for entry in active_hosts(settings):
        builders.append(
            util.BuilderConfig(
                name=deliver_builder(entry.host),
                description=f"sends the ISO that {entry.host} built to the master",
                tags=[entry.host],
                builddir=f"deliver-{entry.host}",
                workernames=[entry.worker],
                factory=on_host(BuildFactory([steps.HandoverDelivery(host=entry.host, state=state), steps.Deliver()])),
                collapseRequests=False,
            )
        )
    return builders


def _attribution(settings: Settings, state: str) -> list[Any]:
    """``attribute`` and the builders that build again for it; none where policy has it off."""
    if not attributes(settings):
        return []
    builders = [
        util.BuilderConfig(
            name=ATTRIBUTE,
            description="why hosts diverged: chance, a planned factor or the host",
            tags=["attribute"],
            workernames=[attributor(settings)],
            factory=_resumable(BuildFactory([steps.Attribute(state=state, config=str(settings.folder))])),
            locks=[util.MasterLock("attribution").access("exclusive")],
            collapseRequests=False,
        )
    ]
    for entry in active_hosts(settings):
        builders.append(
            util.BuilderConfig(
                name=trial_builder(entry.host),
                description=f"builds again on {entry.host} to explain a divergence, and for no verdict",
                tags=[entry.host],
                builddir=f"attribute-{entry.host}",
                # Where iso@… builds: another path would be a factor of its own. The worker builds one at a time.
                workerbuilddir=f"iso-{entry.host}",
                workernames=[entry.worker],
                factory=on_host(_iso(settings, steps.HandoverTrial(host=entry.host, state=state), [], state)),
                collapseRequests=False,
            )
        )
    return builders


def _excerpt(host: str, state: str) -> BuildFactory:
    common: dict[str, Any] = {"host": host, "state": state}
    return BuildFactory([steps.HandoverWanted(**common), steps.MakeExcerpt(), steps.CollectExcerpt(**common)])


def make_builders(settings: Settings, state: str) -> list[Any]:
    """All builders."""
    builders = [
        util.BuilderConfig(
            name=VERIFY,
            description="one tag, every host, one verdict",
            tags=["verify"],
            workernames=coordinator_names(settings),
            factory=_resumable(_verify(settings, state)),
            collapseRequests=False,
        )
    ]
    for entry in active_hosts(settings):
        common: dict[str, Any] = {"workernames": [entry.worker], "collapseRequests": False, "tags": [entry.host]}
        builders += [
            util.BuilderConfig(
                name=iso_builder(entry.host),
                description=f"builds the ISO on {entry.host}",
                builddir=f"iso-{entry.host}",
                factory=on_host(_iso(settings, steps.Handover(host=entry.host, state=state), [steps.Audit()], state)),
                **common,
            ),
            util.BuilderConfig(
                name=explain_builder(entry.host),
                description=f"describes what {entry.host} built",
                builddir=f"explain-{entry.host}",
                factory=on_host(_explain(entry.host, state)),
                **common,
            ),
            util.BuilderConfig(
                name=excerpt_builder(entry.host),
                description=f"hands out the bytes in which {entry.host} differs",
                builddir=f"excerpt-{entry.host}",
                factory=on_host(_excerpt(entry.host, state)),
                **common,
            ),
        ]
    return builders + _make_image(settings, state) + _attribution(settings, state) + _publish(settings, state)
