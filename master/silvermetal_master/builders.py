"""The builders: ``verify`` on the master, ``iso@<host>`` and ``explain@<host>`` on each host.

Rules:

- One builder a host, bound to that host's one worker (DESIGN; facts: host pinning): two builds of one verification
  cannot share a host.
- The coordinator never shares a worker with the hosts (deadlock), and is never quarantined for a verdict.
"""

from __future__ import annotations

from typing import Any

from buildbot.plugins import util
from buildbot.process.factory import BuildFactory
from buildbot.steps.source.git import Git
from silvermetal_proof.host import HostEntry

from silvermetal_master import steps
from silvermetal_master.host_build import on_host
from silvermetal_master.settings import Settings

VERIFY = "verify"
ISO_SCHEDULER = "every-host-builds"
TIE_SCHEDULER = "the-reserve-builds"
EXPLAIN_SCHEDULER = "every-host-explains"
EXPLAIN_DEADLINE = 1800
GIT_SILENCE_SECONDS = 600


def iso_builder(host: str) -> str:
    """The name of a host's builder."""
    return f"iso@{host}"


def explain_builder(host: str) -> str:
    """The name of a host's second builder, which describes what the first one built."""
    return f"explain@{host}"


def coordinator_names(settings: Settings) -> list[str]:
    """The master's own workers: one a verification that may run at once."""
    return [f"coordinator-{number}" for number in range(1, settings.master.verifications + 1)]


def active_hosts(settings: Settings) -> tuple[HostEntry, ...]:
    """Hosts that may be asked: enrolled and not revoked."""
    return tuple(h for h in settings.hosts if h.revoked is None)


def reserve_hosts(settings: Settings) -> tuple[HostEntry, ...]:
    """Hosts that are asked only to break a tie."""
    return tuple(h for h in active_hosts(settings) if h.host in settings.policy.reserve)


def _verify(settings: Settings, state: str) -> BuildFactory:
    common: dict[str, Any] = {"state": state}
    config = str(settings.folder)
    return BuildFactory(
        [
            steps.Pin(
                repository=settings.repository.url,
                recipe=settings.recipe,
                workers={h.host: h.worker for h in active_hosts(settings)},
                build_timeout=settings.policy.build_timeout,
                **common,
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
            steps.Explain(schedulerNames=[EXPLAIN_SCHEDULER], deadline=EXPLAIN_DEADLINE, **common),
            steps.Record(config=config, **common),
        ]
    )


def _iso(settings: Settings, host: str, state: str) -> BuildFactory:
    return BuildFactory(
        [
            steps.Handover(host=host, state=state),
            Git(
                name="checkout",
                description=["checking out the commit"],
                descriptionDone=["the commit is checked out"],
                repourl=settings.repository.url,
                mode="full",
                method="clobber",
                submodules=True,
                alwaysUseLatest=False,
                logEnviron=False,
                timeout=GIT_SILENCE_SECONDS,
                haltOnFailure=True,
            ),
            steps.Preflight(),
            steps.Build(seconds=settings.policy.build_timeout),
            steps.Audit(),
            steps.Attest(),
            steps.CollectStatement(state=state),
        ]
    )


def _explain(host: str, state: str) -> BuildFactory:
    return BuildFactory([steps.MakeManifest(), steps.CollectManifest(host=host, state=state)])


def make_builders(settings: Settings, state: str) -> list[Any]:
    """All builders."""
    builders = [
        util.BuilderConfig(
            name=VERIFY,
            description="one tag, every host, one verdict",
            tags=["verify"],
            workernames=coordinator_names(settings),
            factory=_verify(settings, state),
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
                factory=on_host(_iso(settings, entry.host, state)),
                **common,
            ),
            util.BuilderConfig(
                name=explain_builder(entry.host),
                description=f"describes what {entry.host} built",
                builddir=f"explain-{entry.host}",
                factory=on_host(_explain(entry.host, state)),
                **common,
            ),
        ]
    return builders
