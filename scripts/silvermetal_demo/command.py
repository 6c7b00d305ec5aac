"""External commands: a deadline, no standard input, bounded output, a checked exit code, and an ear for Ctrl-C.

- Every child is the leader of its own session: the terminal's Ctrl-C reaches the demo alone, which then decides the
  order of ends.
- Output goes to a temporary file and at most its last 64 KiB are read back: no command can fill the memory or block
  on a pipe.
- A command that is given up (deadline, interrupt) is ended with its whole process group.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.interrupt import Interrupt

LIMIT = 64 * 1024


@dataclass(frozen=True)
class Output:
    code: int
    out: str
    err: str


def run(
    arguments: Sequence[str | Path],
    *,
    timeout: float,
    interrupt: Interrupt | None = None,
    input_text: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    expected: Sequence[int] = (0,),
    log: Path | None = None,
) -> Output:
    """Run to the end. SetupFailed says the command, got, expected, and what it said last. `log` keeps stderr."""
    command = [str(argument) for argument in arguments]
    with tempfile.TemporaryFile() as out, log.open("w+b") if log else tempfile.TemporaryFile() as err:
        given: IO[bytes] | int = subprocess.DEVNULL
        with tempfile.TemporaryFile() as stdin:
            if input_text is not None:
                stdin.write(input_text.encode())
                stdin.seek(0)
                given = stdin
            try:
                process = subprocess.Popen(
                    command, stdin=given, stdout=out, stderr=err, cwd=cwd, env=env, start_new_session=True
                )
            except OSError as error:
                raise SetupFailed(f"cannot start {shlex.join(command)}: {error.strerror}") from None
        deadline = time.monotonic() + timeout
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise SetupFailed(f"{shlex.join(command)} did not end within {timeout:.0f} s{_said(out, err)}")
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    if interrupt is not None:
                        interrupt.check()
        finally:
            if process.poll() is None:
                end_group(process, grace=2)
        result = Output(process.returncode, _tail(out), _tail(err))
        if result.code not in expected:
            # Ctrl-C reaches a child, too, that has not yet a session of its own: then that is why it ended.
            if interrupt is not None:
                interrupt.check()
            wanted = " or ".join(str(code) for code in expected)
            raise SetupFailed(f"{shlex.join(command)}: got exit code {result.code}, expected {wanted}{_said(out, err)}")
        return result


def end_group(process: subprocess.Popen[bytes], *, grace: float) -> None:
    """TERM to the process group that `process` leads, KILL to what is left after `grace` seconds; waits for the end."""
    for signum, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        if not _signal_group(process.pid, signum):
            break
        end = time.monotonic() + patience
        while time.monotonic() < end:
            process.poll()
            if not _signal_group(process.pid, 0):
                break
            time.sleep(0.02)
    process.wait()


def _signal_group(group: int, signum: int) -> bool:
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    return True


def _tail(stream: IO[bytes]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - LIMIT))
    return stream.read(LIMIT).decode(errors="replace")


def _said(out: IO[bytes], err: IO[bytes]) -> str:
    text = (_tail(err).strip() or _tail(out).strip())[-2000:]
    return f"; it said:\n{text}" if text else ", and it said nothing"
