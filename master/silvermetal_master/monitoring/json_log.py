"""The master's log as one JSON object a line (JSON Lines), for a collector.

Rules:

- One event, one line, at most :data:`MAX_BYTES` of text: ``time`` (RFC 3339, UTC), ``level``, ``system``, ``text``,
  and ``traceback`` where there is one.
- What cannot be formatted is told as such; logging never raises.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer

MAX_BYTES = 16384


def line_of(event: LogEvent) -> str | None:
    """One event as its line, without the end of line; None for one that says nothing, as Twisted's own log has it."""
    found: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0.0), UTC).isoformat(timespec="milliseconds"),
        "level": getattr(event.get("log_level"), "name", "info"),
        "system": str(event.get("log_system") or event.get("log_namespace") or "-")[:200],
        "text": formatEvent(event)[:MAX_BYTES],
    }
    failure = event.get("log_failure")
    if failure is not None:
        found["traceback"] = failure.getTraceback()[-MAX_BYTES:]
        found["text"] = found["text"] or failure.getErrorMessage()[:MAX_BYTES]
    return json.dumps(found, sort_keys=True) if found["text"] else None


@implementer(ILogObserver)
class JsonLog:
    """Writes each event to ``stream``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        try:
            line = line_of(event)
        except Exception as error:
            line = json.dumps(
                {"level": "error", "system": "log", "text": f"an event could not be told: {error!r:.500}"}
            )
        if line is None:
            return
        self._stream.write(f"{line}\n")
        self._stream.flush()


def to_standard_output() -> JsonLog:
    """What ``twistd --logger`` asks for."""
    return JsonLog(sys.__stdout__ or sys.stdout)
