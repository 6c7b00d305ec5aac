"""Preflight: is this host ready for this order? Asked before minutes are spent.

Rules:

- Each check says got and expected and what mends it; all are made, so that one run names all that is missing.
- Floors (cores, memory, disk) are the recipe's, from ``config/<recipe>.conf`` at the commit.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.order import Order

from silvermetal_worker.engine import ContainerEngine
from silvermetal_worker.errors import WorkerError
from silvermetal_worker.settings import WorkerDirectory

TOOLS = ("bash", "git", "python3", "silvermetal-fetch")
MAX_CLOCK_SKEW_SECONDS = 90
_MIB = 2**20


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``mend`` is the command or act that makes it good."""

    name: str
    good: bool
    expected: str
    got: str
    mend: str = ""

    def __str__(self) -> str:
        if self.good:
            return f"ok      {self.name}: {self.got}"
        return f"NOT OK  {self.name}: expected {self.expected}, got {self.got}" + (
            f"; {self.mend}" if self.mend else ""
        )


def _memory_mib() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def _floors(order: Order, here: Path) -> Iterator[Check]:
    """Cores, memory and disk against the recipe's floors."""
    for key, name, unit, look in (
        ("HOST_CORES", "cores", "", lambda: len(os.sched_getaffinity(0))),
        ("HOST_MEMORY_MB", "available memory", " MiB", _memory_mib),
        ("HOST_DISK_MB", "free disk", " MiB", lambda: shutil.disk_usage(here).free // _MIB),
    ):
        floor = int(order.pins.settings.get(key, "0") or "0")
        got = look()
        yield Check(name, got >= floor, f"at least {floor}{unit}", f"{got}{unit}", "use a larger host or free some")


def _of_error(name: str, expected: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, expected, look())
    except WorkerError as error:
        return Check(name, False, expected, str(error))


def checks(order: Order, directory: WorkerDirectory, here: Path, master_time: float | None) -> Iterator[Check]:
    """All checks, one after the other. ``master_time`` is the master's clock (seconds), read just before."""
    settings = directory.settings
    yield Check("order", order.host == settings.host, f"an order for {settings.host}", f"one for {order.host}")
    yield from _floors(order, here)
    for tool in TOOLS:
        found = shutil.which(tool)
        yield Check(f"tool {tool}", found is not None, "on the PATH", "found" if found else "none", "install it")
    yield _of_error("signing key", "readable by its owner alone", lambda: directory.signing_key().public.keyid[:16])
    yield _of_error("container engine", "an answer", lambda: ContainerEngine(settings.docker_host).facts().version)
    image = order.pins.builder_image
    yield _of_error("builder image", image, lambda: ContainerEngine(settings.docker_host).image_id(image)[:19])
    if master_time is not None:
        skew = time.time() - master_time
        yield Check(
            "clock",
            abs(skew) <= MAX_CLOCK_SKEW_SECONDS,
            f"within {MAX_CLOCK_SKEW_SECONDS} s of the master's",
            f"{skew:+.0f} s",
            "set the clock (systemd-timesyncd or chrony)",
        )
