"""A TCP proxy between a host and its master (or a service and its client), which can be slow, silent or cut.

Rules:

- One thread with its own event loop; bytes are passed on as they are, or late, or not at all: never changed.
- ``silent`` holds the connection open and passes nothing, as a partition does that nobody announces.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

BLOCK = 4096


class Proxy:
    """Listens on ``port``, passes to ``target`` (a port on loopback)."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.silent = False
        self.seconds_a_block = 0.0
        self.refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.wait(
                [
                    asyncio.create_task(self._pass(reader, far_writer)),
                    asyncio.create_task(self._pass(far_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for one in pair:
            one.transport.abort()
        self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK):
                while self.silent:
                    await asyncio.sleep(0.05)
                if self.seconds_a_block:
                    await asyncio.sleep(self.seconds_a_block)
                writer.write(block)
                await writer.drain()

    def _call(self, function: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(10)

    def cut(self) -> None:
        """Reset every connection."""
        self._call(lambda: [w.transport.abort() for w in list(self._writers)] and None)

    def stop(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
