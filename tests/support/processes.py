"""Starting programs for a test and ending them surely.

Rules:

- Each is in a session of its own and is ended with its group: politely first, then by SIGKILL.
- Waiting always has an end; what was waited for and the tail of the log are in the error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SECONDS_TO_END = 15


class Program:
    """One running program with a log file."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(SECONDS_TO_END)

    def stop(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_END)
        self.signal(signal.SIGKILL)
        self.process.wait(SECONDS_TO_END)

    def tail(self, size: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-size:]


def wait_until(
    condition: Callable[[], object], what: str, *, timeout: float = 30, programs: Sequence[Program] = ()
) -> None:
    """Wait until ``condition`` holds; fail with the programs' logs when it does not, or when one of them ends."""
    end = time.monotonic() + timeout
    while not condition():
        ended = [p for p in programs if not p.running]
        if ended or time.monotonic() >= end:
            why = "a program ended" if ended else f"{timeout:g} s have passed"
            logs = "\n".join(f"--- {p.log}\n{p.tail()}" for p in programs)
            raise AssertionError(f"expected {what}, but {why}\n{logs}")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(argv: Sequence[str], *, timeout: float = 60, input: str | None = None, ends: int = 0, **kwargs: object) -> str:
    """Run to the end and return standard output; a failure shows both outputs."""
    source = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, **source, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == ends, f"{' '.join(argv)} ended {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)
