"""The three ways out: a commit status on Gitea, a mail by Buildbot's MailNotifier, a signed webhook.

Sources: RFC 2104 (HMAC); RFC 5322 (Message-ID).

Rules:

- Each call has an end; whatever is not a plain success is an error, and the outbox tries again.
- A status is looked for before it is made: the newest of its context says the same, so it arrived.
- The webhook's HMAC-SHA-256 is over the raw body, which holds the delivery's id and its time; no redirect is followed.
- Secrets come from the provider at each call, and are in no message, log or error.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import treq
from silvermetal_proof import canonical
from silvermetal_proof.errors import printable
from twisted.internet import defer
from twisted.web.client import Agent, HTTPConnectionPool

from silvermetal_master.gitea.client import GiteaClient

SECONDS = 60
MAX_ANSWER_BYTES = 1024 * 1024
SIGNATURE = "X-SilverMetal-Signature"
DELIVERY = "X-SilverMetal-Delivery"
TIMESTAMP = "X-SilverMetal-Timestamp"


class UndeliveredError(Exception):
    """It did not arrive."""


async def send_status(client: GiteaClient, payload: dict[str, str]) -> None:
    """Bring the status of a commit to what ``payload`` says. :raises GiteaError: when the server does not."""
    wanted = {name: payload[name] for name in ("state", "context", "description", "target_url")}
    there = await client.newest_status(payload["commit"], wanted["context"])
    if there is not None:
        same = {**wanted, "state": there.get("status")} | {n: there.get(n, "") for n in ("description", "target_url")}
        if same == wanted:
            return
    await client.create_status(payload["commit"], wanted)


def signature(secret: bytes, body: bytes) -> str:
    """The value of the webhook's signature header."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


async def send_webhook(reactor: Any, url: str, secret: bytes, payload: dict[str, Any]) -> None:
    """Post one notice. :raises UndeliveredError: for every answer but 2xx."""
    body = canonical.encode(payload)
    agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False), connectTimeout=30)
    headers = {
        "Content-Type": "application/json",
        SIGNATURE: signature(secret, body),
        DELIVERY: payload["delivery"],
        TIMESTAMP: payload["at"],
    }

    async def call() -> int:
        options: dict[str, Any] = {"agent": agent, "reactor": reactor, "allow_redirects": False, "unbuffered": True}
        response = await treq.post(url, data=body, headers=headers, **options)
        got = 0

        def take(block: bytes) -> None:
            nonlocal got
            got += len(block)
            if got > MAX_ANSWER_BYTES:
                raise UndeliveredError(f"webhook: expected at most {MAX_ANSWER_BYTES} bytes of answer, got more")

        await response.collect(take)
        return int(response.code)

    try:
        code = await defer.ensureDeferred(call()).addTimeout(SECONDS, reactor)
    except defer.TimeoutError:
        raise UndeliveredError(f"webhook: expected an answer within {SECONDS} s, got none") from None
    if not 200 <= code < 300:
        raise UndeliveredError(f"webhook: expected 2xx, got {code}")


async def send_mail(notifier: Any, recipients: tuple[str, ...], payload: dict[str, str], reactor: Any) -> None:
    """Send one notice as mail. :raises UndeliveredError: when the relay does not take it."""
    text = {"body": payload["text"].encode(), "type": "plain", "subject": payload["subject"]}
    mail = await notifier.createEmail(text, payload["subject"], None)
    mail["To"] = ", ".join(recipients)
    mail["Message-ID"] = f"<{payload['id']}@{notifier.fromaddr.rpartition('@')[2].strip('>')}>"
    try:
        await notifier.sendMail(mail, list(recipients)).addTimeout(SECONDS, reactor)
    except defer.TimeoutError:
        raise UndeliveredError(f"mail: expected the relay to take it within {SECONDS} s") from None
    except Exception as error:
        # Twisted's SMTP client has an error for each answer; what the relay said is in its text.
        raise UndeliveredError(f"mail: expected the relay to take it, got {printable(str(error), 300)}") from None
