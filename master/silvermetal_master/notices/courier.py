"""The courier: sends what is in the outbox, and tries again what did not arrive.

Rules:

- One loop a channel: a mail relay that hangs delays no status. In a channel one message after the other, oldest first.
- Nothing here is waited for by a build; an error of any kind is a reason to try again, never one to stop.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, get_args

from buildbot.plugins import util
from buildbot.util.service import BuildbotService
from silvermetal_proof.errors import printable
from twisted.internet import defer
from twisted.internet.threads import deferToThread
from twisted.python import log

from silvermetal_master.gitea.client import GiteaClient
from silvermetal_master.notices.channels import UndeliveredError, send_mail, send_status, send_webhook
from silvermetal_master.notices.outbox import Channel, Message, Outbox
from silvermetal_master.settings import GITEA_TOKEN, GiteaSettings
from silvermetal_master.telling_settings import WEBHOOK_SECRET, MailSettings, WebhookSettings

MAIL_SERVICE = "mail"
IDLE_SECONDS = 600
CHANNELS: tuple[Channel, ...] = get_args(Channel)


class Courier(BuildbotService):
    """Sends the messages in ``state``; a channel whose settings are None keeps its messages."""

    name = "courier"

    def checkConfig(
        self,
        *,
        state: str,
        gitea: GiteaSettings | None = None,
        mail: MailSettings | None = None,
        webhook: WebhookSettings | None = None,
    ) -> None:
        """Nothing beyond the settings' own check."""

    def reconfigService(
        self,
        *,
        state: str,
        gitea: GiteaSettings | None = None,
        mail: MailSettings | None = None,
        webhook: WebhookSettings | None = None,
    ) -> None:
        """Take the settings."""
        self.outbox = Outbox(Path(state))
        self.gitea, self.mail, self.webhook = gitea, mail, webhook

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._timers: dict[str, Any] = {}
        self._busy: dict[str, defer.Deferred[Any]] = {}
        self._woken: set[str] = set()

    @defer.inlineCallbacks
    def startService(self) -> Generator[Any, Any, None]:
        """Begin to send."""
        yield super().startService()
        self.wake()

    @defer.inlineCallbacks
    def stopService(self) -> Generator[Any, Any, None]:
        """End; what is on its way is let go, and sent again after the next start unless it arrived."""
        yield super().stopService()
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        for busy in list(self._busy.values()):
            busy.cancel()

    def wake(self) -> None:
        """There is something new."""
        for channel in CHANNELS:
            if channel in self._busy:
                self._woken.add(channel)
            elif self.running:
                self._in(channel, 0)

    def _in(self, channel: Channel, seconds: float) -> None:
        timer = self._timers.get(channel)
        if timer is not None and timer.active():
            timer.cancel()
        self._timers[channel] = self.master.reactor.callLater(seconds, self._begin, channel)

    def _begin(self, channel: Channel) -> None:
        self._woken.discard(channel)
        busy = self._busy[channel] = defer.ensureDeferred(self._round(channel))
        busy.addErrback(lambda f: f.trap(defer.CancelledError) and None)
        busy.addErrback(log.err, f"while sending by {channel}")
        busy.addBoth(lambda pause: self._end(channel, pause))

    def _end(self, channel: Channel, pause: float | None) -> None:
        self._busy.pop(channel, None)
        if self.running:
            self._in(channel, 0 if channel in self._woken else IDLE_SECONDS if pause is None else max(pause, 0.5))

    async def _round(self, channel: Channel) -> float | None:
        """Send what is due; return the seconds until the next is."""
        now = time.time()
        waiting = [m for m in await deferToThread(self.outbox.waiting) if m.channel == channel]
        pauses = [m.due - now for m in waiting if m.due > now]
        for message in waiting:
            if message.due <= now and self._wanted(channel):
                again = await self._try(message)
                if again is not None:
                    pauses.append(again.due - time.time())
        return min(pauses) if pauses else None

    def _wanted(self, channel: Channel) -> bool:
        return {"status": self.gitea, "mail": self.mail, "webhook": self.webhook}[channel] is not None

    async def _try(self, message: Message) -> Message | None:
        """Send one; return what is to be tried again."""
        try:
            await self._send(message)
        except defer.CancelledError:
            raise
        except Exception as error:
            problem = printable(f"{type(error).__name__}: {error}", 400)
            if not isinstance(error, UndeliveredError):
                problem = printable(str(error) or type(error).__name__, 400)
            again: Message | None = await deferToThread(self.outbox.failed, message, problem, int(time.time()))
            what = "given up" if again is None else f"tried {message.tries + 1} times"
            log.msg(f"{message.key}: expected it to arrive, got {problem}; {what}")
            return again
        await deferToThread(self.outbox.sent, message)
        return None

    async def _secret(self, name: str) -> str:
        return str(await self.renderSecrets(util.Secret(name))).strip()

    async def _send(self, message: Message) -> None:
        reactor = self.master.reactor
        if message.channel == "status" and self.gitea is not None:
            token = await self._secret(GITEA_TOKEN)
            gitea = self.gitea
            client = GiteaClient(reactor, gitea.url, gitea.owner, gitea.repository, token)
            await send_status(client, message.payload)
        elif message.channel == "webhook" and self.webhook is not None:
            secret = await self._secret(WEBHOOK_SECRET)
            await send_webhook(reactor, self.webhook.url, secret.encode(), message.payload)
        elif message.channel == "mail" and self.mail is not None:
            notifier = self.master.service_manager.namedServices[MAIL_SERVICE]
            await send_mail(notifier, self.mail.to, message.payload, reactor)
