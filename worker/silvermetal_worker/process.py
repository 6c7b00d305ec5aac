"""Running other programs: always with a deadline, without input, and with their exit code looked at.

Rules (house rule 7):

- Standard input is /dev/null, so that no tool can ask a question and wait for ever.
- At the deadline and on SIGTERM the whole process group gets SIGTERM, and SIGKILL ten seconds later.
- A build outlives its worker by a second or two: a worker that was killed can end nothing, so the build looks for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from silvermetal_worker.errors import EXIT_TIMEOUT, WorkerError

GRACE_SECONDS = 10
POLL_SECONDS = 0.05
PARENT_SECONDS = 1


def output_of(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    limit: int = 1 << 20,
    env: Mapping[str, str] | None = None,
) -> str:
    """Return what ``argv`` prints; :raises WorkerError: when it fails, is missing, takes or prints too much."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise WorkerError(f"expected the program {argv[0]!r} on this host, got none; install it", 5) from None
    except subprocess.TimeoutExpired:
        raise WorkerError(f"{' '.join(argv)}: expected an end within {timeout:g} s, got none", EXIT_TIMEOUT) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-400:]
        raise WorkerError(f"{' '.join(argv)}: expected exit code 0, got {done.returncode}: {said}")
    if len(done.stdout) > limit:
        raise WorkerError(f"{' '.join(argv)}: expected at most {limit} bytes of output, got {len(done.stdout)}")
    return done.stdout.decode(errors="replace")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process group: politely, then surely. The leader's end is not the group's: what it left may ignore us."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + GRACE_SECONDS
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < end:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(POLL_SECONDS)
        except ProcessLookupError:
            process.wait()
            return


def run_to_log(argv: Sequence[str], *, timeout: float, cwd: Path, env: Mapping[str, str]) -> int:
    """Run ``argv`` with its output going to ours; return its exit code, or EXIT_TIMEOUT after ending it.

    SIGTERM, SIGINT and SIGHUP to this process (a cancelled build, a lost master) end the group before we go on to end.
    """

    def _stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {n: signal.signal(n, _stop) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    parent = os.getppid()
    process = subprocess.Popen(argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                return process.wait(min(left, PARENT_SECONDS))
            except subprocess.TimeoutExpired:
                if os.getppid() != parent:
                    raise WorkerError("expected the worker that started this, got none: it died") from None
        return EXIT_TIMEOUT
    finally:
        if process.poll() is None:
            for number in before:
                signal.signal(number, signal.SIG_IGN)
            _end_group(process)
        for number, handler in before.items():
            signal.signal(number, handler)
