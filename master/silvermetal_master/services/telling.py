"""The services that look at tags, tell people and send: what each is given of the settings.

Rules:

- Each says in its own module what it keeps. Secrets are named here and never read.
"""

from __future__ import annotations

from typing import Any

from buildbot.plugins import util
from buildbot.reporters.mail import MailNotifier

from silvermetal_master.notices.announcer import Announcer
from silvermetal_master.notices.courier import MAIL_SERVICE, Courier
from silvermetal_master.notices.words import Audience
from silvermetal_master.services.reconciler import TagReconciler
from silvermetal_master.settings import Settings
from silvermetal_master.telling_settings import SMTP_SECRET, MailSettings


def _mail(mail: MailSettings | None) -> list[Any]:
    """Buildbot's own notifier as the way to the relay; it listens to no event, for those are lost with the master."""
    if mail is None:
        return []
    return [
        MailNotifier(
            mail.sender,
            name=MAIL_SERVICE,
            relayhost=mail.relay,
            smtpPort=mail.port,
            useTls=mail.tls,
            smtpUser=mail.user,
            smtpPassword=util.Secret(SMTP_SECRET) if mail.user is not None else None,
            sendToInterestedUsers=False,
            extraRecipients=list(mail.to),
            generators=[],
        )
    ]


def telling_services(settings: Settings, state: str) -> list[Any]:
    """What looks at tags, what tells of them and of verdicts, and what sends it."""
    statuses = settings.gitea is not None and settings.gitea.statuses
    audience = Audience(
        title=settings.master.title,
        url=settings.master.url,
        statuses=statuses,
        mail=settings.notices.mail is not None,
        webhook=settings.notices.webhook is not None,
        **({"context": settings.gitea.status_context} if settings.gitea is not None else {}),
    )
    return [
        *_mail(settings.notices.mail),
        Courier(
            state=state,
            gitea=settings.gitea if statuses else None,
            mail=settings.notices.mail,
            webhook=settings.notices.webhook,
        ),
        Announcer(state=state, audience=audience),
        TagReconciler(
            repository=settings.repository.url,
            tags=settings.repository.tags,
            every=settings.reconcile.every,
            state=state,
        ),
    ]
