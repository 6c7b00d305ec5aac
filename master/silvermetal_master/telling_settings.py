"""Settings of what looks at tags, who is told, and where it is shown: ``[reconcile]``, ``[gitea]``, ``[notices]``.

Rules:

- Secrets are named here; their contents are files of the ``secrets`` folder.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints
from silvermetal_proof.model import Line, Record

WEBHOOK_SECRET = "webhook"  # noqa: S105 - the name of a secret, not the secret
SMTP_SECRET = "smtp-password"  # noqa: S105 - the name of a secret, not the secret


class ReconcileSettings(Record):
    """``[reconcile]``: looking for tags that no event started."""

    every: Annotated[int, Field(ge=1, le=86400)] = 300
    """Seconds between two looks at the repository's tags."""


class GiteaSettings(Record):
    """``[gitea]``: where releases are published; without this table a tag ends with its verdict."""

    url: Annotated[str, StringConstraints(pattern=r"\Ahttps?://[^\s/][^\s]{0,200}\z")]
    owner: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9._-]{1,100}\z")]
    repository: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9._-]{1,100}\z")]
    receive: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9.:\[\]-]{1,200}:[0-9]{1,5}\z")]
    """``HOST:PORT`` of the master at which a worker delivers the ISO, by TLS as workers connect; open only while one is
    asked to."""
    statuses: bool = True
    """Whether each verification is shown as a status of its commit."""
    status_context: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9._/-]{1,100}\z")] = "silvermetal/verify"
    """What the statuses' contexts begin with; the tag's name follows."""


_Mail = Annotated[str, StringConstraints(pattern=r"\A[^\s@<>]{1,100}@[^\s@<>]{1,200}\z")]


class MailSettings(Record):
    """``[notices.mail]``: who gets mail, and by which relay."""

    relay: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9.:-]{1,200}\z")] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    sender: Annotated[_Mail, Field(alias="from")]
    to: Annotated[tuple[_Mail, ...], Field(min_length=1, max_length=100)]
    tls: bool = False
    """Whether the relay must offer STARTTLS."""
    user: Line | None = None
    """For a relay that asks for one; the password is the secret ``smtp-password``."""


class WebhookSettings(Record):
    """``[notices.webhook]``: the address that is posted to; the secret ``webhook`` signs."""

    url: Annotated[str, StringConstraints(pattern=r"\Ahttps?://[^\s/][^\s]{0,1000}\z")]


class NoticesSettings(Record):
    """``[notices]``: who is told of what is not REPRODUCED, of moved tags and of missing workers."""

    missing_after: Annotated[int, Field(ge=1, le=7 * 86400)] = 3600
    """Seconds for which a worker may be away."""
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None

    @property
    def secrets(self) -> list[str]:
        """The names of the secrets that these settings need."""
        smtp = [SMTP_SECRET] if self.mail is not None and self.mail.user is not None else []
        return smtp + ([WEBHOOK_SECRET] if self.webhook is not None else [])
