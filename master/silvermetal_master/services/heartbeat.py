"""Telling the service manager that the master is up, and that its reactor turns.

Rules:

- systemd's protocol (sd_notify(3)): READY=1 once the configuration runs, WATCHDOG=1 at half of the interval that
  systemd asks for, STOPPING=1 at the end. Where nobody listens (no NOTIFY_SOCKET) nothing is sent.
- The beat comes from the reactor itself: a reactor that is blocked misses it, and the unit's watchdog ends the process.
  What was unfinished then is what a crash leaves (``recovery``).
- The socket's address is taken out of the environment: no child may speak in the master's name.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet import task

_ADDRESS = os.environ.pop("NOTIFY_SOCKET", "")
_WATCHDOG = os.environ.pop("WATCHDOG_USEC", "")
os.environ.pop("WATCHDOG_PID", None)


def beat_interval(watchdog_usec: str) -> float | None:
    """Seconds between two beats for systemd's WATCHDOG_USEC; None where no watchdog is asked for."""
    if not watchdog_usec.isdecimal() or int(watchdog_usec) == 0:
        return None
    return int(watchdog_usec) / 1e6 / 2


def notify(address: str, message: str) -> bool:
    """Send one message of sd_notify(3); False where nobody took it."""
    if not address:
        return False
    # An abstract socket is written with @ and is reached by a leading zero byte.
    target = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as way:
        way.sendto(message.encode("ascii"), target)
        return True
    return False


class Heartbeat(BuildbotService):
    """The master's voice towards systemd."""

    name = "heartbeat"

    def __init__(self, address: str = _ADDRESS, watchdog_usec: str = _WATCHDOG, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._address = address
        self._interval = beat_interval(watchdog_usec)
        self._loop = task.LoopingCall(notify, address, "WATCHDOG=1")

    async def startService(self) -> None:
        await super().startService()
        notify(self._address, "READY=1\nSTATUS=master is running")
        if self._interval is not None:
            self._loop.clock = self.master.reactor
            self._loop.start(self._interval)

    async def stopService(self) -> None:
        if self._loop.running:
            self._loop.stop()
        notify(self._address, "STOPPING=1")
        await super().stopService()
