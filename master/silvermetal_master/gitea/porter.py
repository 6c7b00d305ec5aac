"""The master's side of :mod:`.transfer`: orders out, answers in, by Twisted.

Rules:

- The process is started at the first order, and again when it was lost; :meth:`Porter.close` ends it.
- Orders wait for one another. One that takes too long ends with the process.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet import defer, protocol

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class LostError(Exception):
    """The transfer did not come to an end: the connection, the file or the process was lost."""


class _Process(protocol.ProcessProtocol):
    def __init__(self) -> None:
        self.waiting: defer.Deferred[bytes] | None = None
        self._got = b""
        self.over = False

    def outReceived(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._got += data
        line, end, rest = self._got.partition(b"\n")
        if end:
            self._got = rest
            self._fire(line)
        elif len(self._got) > MAX_ANSWER_BYTES:
            self.transport.signalProcess("KILL")

    def outConnectionLost(self) -> None:
        """The process has ended, or will now."""
        self.over = True
        self._fire(None)

    def _fire(self, line: bytes | None) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            return
        if line is None:
            waiting.errback(LostError("the process that transfers ended"))
        else:
            waiting.callback(line)


class Porter:
    """One process that transfers, for one publication."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._lock = defer.DeferredLock()
        self._process: _Process | None = None

    async def ask(self, order: dict[str, Any], *, seconds: float) -> dict[str, Any]:
        """Let one order be done. :raises LostError: when it did not come to an end within ``seconds``."""
        await self._lock.acquire()
        try:
            process = self._running()
            process.waiting = defer.Deferred()
            answered = process.waiting.addTimeout(seconds, self._reactor)
            process.transport.write(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await answered)
        except defer.TimeoutError:
            self.close()
            raise LostError(f"expected an end within {seconds:g} s, got none") from None
        finally:
            self._lock.release()
        if "lost" in answer:
            raise LostError(str(answer["lost"]))
        return answer

    def _running(self) -> _Process:
        if self._process is None or self._process.over:
            self._process = _Process()
            argv = [sys.executable, "-m", "silvermetal_master.gitea.transfer"]
            fds = {0: "w", 1: "r", 2: 2}
            self._reactor.spawnProcess(self._process, argv[0], argv, env=os.environ, childFDs=fds)
        return self._process

    def close(self) -> None:
        """End the process, whatever it does now."""
        process, self._process = self._process, None
        if process is not None and not process.over:
            process.waiting = None
            process.transport.loseConnection()
