"""What one run may cost.

Rules:
- Every count that hostile input controls is held against a number here before memory is spent on it.
- The process also limits itself: private memory (RLIMIT_DATA) and wall time, so that a mistake here ends in exit 4.
"""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from .errors import LimitExceeded

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of one run; the defaults fit a 4 GB live image in 256 MiB."""

    memory: int = 256 * MIB
    seconds: int = 900
    entries: int = 400_000  # files in one layer
    depth: int = 6  # layers within layers
    directory_depth: int = 128
    metadata: int = 64 * MIB  # decompressed tables of one squashfs
    spool: int = 2048 * MIB  # a decompressed inner layer, in a temporary file
    text: int = 1 * MIB  # of one differing file that is looked into
    name: int = 4096
    differences: int = 20_000
    decompressed: int = 32 * 1024 * MIB  # over the whole run

    def check(self, what: str, got: int, allowed: int) -> None:
        """Raise unless `got` fits."""
        if got > allowed:
            raise LimitExceeded(f"{what}: got {got}, at most {allowed} are allowed")


@contextlib.contextmanager
def guard(limits: Limits) -> Iterator[None]:
    """Hold this process to the memory and time of `limits`; a breach is LimitExceeded."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise LimitExceeded(f"time: more than {limits.seconds} s, raise it with --seconds")

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, hard))
    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(limits.seconds)
    try:
        yield
    except MemoryError:
        raise LimitExceeded(
            f"memory: more than {limits.memory // MIB} MiB of private memory, raise it with --memory"
        ) from None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
