"""The schedulers: a tag starts ``verify``; ``verify`` starts the hosts; a person may ask for a full commit.

Rules:

- Only changes of the category *tag*, from our own hooks or the reconciler, start a verification; no poller (H10).
  Beside them a pushed branch ``bump/…`` is verified, where policy does not ask for signatures: nothing here makes or
  moves such a branch.
- A forced build takes a full commit and a full ref; a branch name as revision is refused.
- The triggerables are started by ``verify`` alone.
"""

from __future__ import annotations

from typing import Any

from buildbot.plugins import schedulers, util

from silvermetal_master.builders import (
    ATTRIBUTE,
    ATTRIBUTION_SCHEDULER,
    IMAGE_BUILDER,
    IMAGE_SCHEDULER,
    ISO_SCHEDULER,
    PUBLISH,
    PUBLISH_SCHEDULER,
    TIE_SCHEDULER,
    VERIFY,
    active_hosts,
    attributes,
    deliver_builder,
    deliver_scheduler,
    excerpt_builder,
    explain_builder,
    iso_builder,
    reserve_hosts,
    trial_builder,
)
from silvermetal_master.gitea.events import BUMP_CATEGORY, TAG_CATEGORY
from silvermetal_master.settings import Settings
from silvermetal_master.steps.attribute import trial_scheduler
from silvermetal_master.steps.explain import explain_scheduler
from silvermetal_master.steps.look_closer import excerpt_scheduler
from silvermetal_master.tag_scheduler import TAG_SCHEDULER, TagScheduler
from silvermetal_master.tag_signature import SignedTags


def _publishing(settings: Settings, hosts: list[str]) -> list[Any]:
    if settings.receive is None:
        return []
    return [
        schedulers.Triggerable(name=PUBLISH_SCHEDULER, builderNames=[PUBLISH]),
        *(schedulers.Triggerable(name=deliver_scheduler(h), builderNames=[deliver_builder(h)]) for h in hosts),
    ]


def _bumps(settings: Settings) -> list[Any]:
    """What verifies a pushed branch ``bump/…``; a branch has no signature, so not where policy asks for one."""
    if settings.policy.signed_tags is SignedTags.REQUIRED:
        return []
    return [
        schedulers.AnyBranchScheduler(
            name="pin-bumps",
            change_filter=util.ChangeFilter(category=BUMP_CATEGORY, repository=settings.repository.url),
            treeStableTimer=None,
            builderNames=[VERIFY],
        )
    ]


def _attribution(settings: Settings, hosts: list[str]) -> list[Any]:
    if not attributes(settings):
        return []
    return [
        schedulers.Triggerable(name=ATTRIBUTION_SCHEDULER, builderNames=[ATTRIBUTE]),
        *(schedulers.Triggerable(name=trial_scheduler(h), builderNames=[trial_builder(h)]) for h in hosts),
    ]


def make_schedulers(settings: Settings, state: str) -> list[Any]:
    """All schedulers."""
    hosts = [h.host for h in active_hosts(settings)]
    reserve = [h.host for h in reserve_hosts(settings)]
    first = [h for h in hosts if h not in reserve]
    return [
        TagScheduler(
            name=TAG_SCHEDULER,
            state=state,
            change_filter=util.ChangeFilter(category=TAG_CATEGORY, repository=settings.repository.url),
            treeStableTimer=None,
            builderNames=[VERIFY],
        ),
        *_bumps(settings),
        schedulers.Triggerable(name=ISO_SCHEDULER, builderNames=[iso_builder(h) for h in first]),
        *(schedulers.Triggerable(name=TIE_SCHEDULER, builderNames=[iso_builder(h)]) for h in reserve[:1]),
        *(
            [schedulers.Triggerable(name=IMAGE_SCHEDULER, builderNames=[IMAGE_BUILDER])]
            if settings.builder_image is not None
            else []
        ),
        *(schedulers.Triggerable(name=explain_scheduler(h), builderNames=[explain_builder(h)]) for h in hosts),
        *(schedulers.Triggerable(name=excerpt_scheduler(h), builderNames=[excerpt_builder(h)]) for h in hosts),
        *_attribution(settings, hosts),
        *_publishing(settings, hosts),
        schedulers.ForceScheduler(
            name="verify-a-commit",
            buttonName="Verify a commit",
            label="Verify a commit on every host",
            builderNames=[VERIFY],
            reason=util.StringParameter(name="reason", label="Why", default="asked by hand", size=60),
            codebases=[
                util.CodebaseParameter(
                    "",
                    label="What",
                    branch=util.StringParameter(
                        name="branch",
                        label="Ref (refs/heads/… or refs/tags/…)",
                        regex=r"^refs/(heads|tags)/[A-Za-z0-9][A-Za-z0-9._/+-]*$",
                        required=True,
                        size=60,
                    ),
                    revision=util.StringParameter(
                        name="revision", label="Full commit (40 hex)", regex=r"^[0-9a-f]{40}$", required=True, size=42
                    ),
                    repository=util.FixedParameter(name="repository", default=settings.repository.url),
                    project=util.FixedParameter(name="project", default=""),
                )
            ],
            properties=[],
        ),
    ]
