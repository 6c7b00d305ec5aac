"""Ctrl-C, kept for the next safe moment.

- A signal sets a flag and nothing else: no exception ever falls between making a thing and writing it down.
- Whoever waits, waits here (`sleep`, `wait_until`) or checks the flag between two steps, so that an interrupt is
  heard within a twentieth of a second.
- Once cleaning up has begun (`shield`) the flag raises no more: a second Ctrl-C only hears that the cleaning is under
  way.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from silvermetal_demo.errors import Interrupted, SetupFailed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STEP = 0.05


class Interrupt:
    def __init__(self) -> None:
        self._asked = threading.Event()
        self._shielded = False

    def request(self) -> None:
        """Ask every thread of the demo to stop at its next check."""
        self._asked.set()

    @property
    def requested(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        if self._asked.is_set() and not self._shielded:
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            if self._shielded:
                time.sleep(min(left, STEP))
            else:
                self._asked.wait(min(left, STEP))
        self.check()

    def wait_until(self, holds: Callable[[], bool], *, timeout: float, what: str, step: float = STEP) -> None:
        """Poll until `holds()`; SetupFailed with `what` when that takes too long."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                raise SetupFailed(f"{what} (waited {timeout:.0f} s)")
            self.sleep(step)

    def wait_for_request(self) -> None:
        """Until somebody asks to stop."""
        self._asked.wait()

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Only from the main thread, around everything."""

        def handle(signum: int, _frame: object) -> None:
            # os.write, not print: a signal handler may interrupt a print that holds the stream's lock.
            if self._shielded:
                os.write(2, b"\ndemo: already cleaning up; nothing is left behind if you wait a moment\n")
            elif not self._asked.is_set():
                os.write(2, f"\ndemo: {signal.Signals(signum).name}: stopping and cleaning up\n".encode())
            self._asked.set()

        before = {signum: signal.signal(signum, handle) for signum in SIGNALS}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """While cleaning up: waiting works as ever, the flag raises nothing."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
