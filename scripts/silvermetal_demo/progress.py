"""The demo's voice: one line a fact, with the seconds since the start.

- Everything goes to standard output, flushed, so that the order of lines is the order of events; threads may speak at
  once.
- What a line says has happened, unless it ends in "...".
"""

from __future__ import annotations

import sys
import threading
import time


class Progress:
    def __init__(self) -> None:
        self._start = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def say(self, text: str, *, who: str = "demo") -> None:
        with self._lock:
            print(f"{self.seconds:7.1f} s  {who:<14} {text}", file=sys.stdout, flush=True)

    def plain(self, text: str = "") -> None:
        with self._lock:
            print(text, file=sys.stdout, flush=True)
