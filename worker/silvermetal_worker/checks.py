"""What is looked at on a build host, one small function a thing.

Rules:

- Each check says got and expected and the command that mends it; none ends the list, so that one run names all.
- Floors, kernel modules and loop devices are the recipe's, from ``config/<recipe>.conf`` at the commit.
- A check looks at the real thing: a file is written, a container is run.
- What was not looked at says so; it is never called good for want of an answer.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import printable
from silvermetal_proof.pins import SnapshotLock, read_lock
from silvermetal_proof.pins.recipe import DEVICE_COUNT, HOST_FLOORS, MODULES

from silvermetal_worker.errors import WorkerError

TOOLS = ("bash", "git", "python3", "silvermetal-fetch")
MAX_CLOCK_SKEW_SECONDS = 90
MIN_ENTROPY_BITS = 128
"""Of the kernel's pool, from which keys and seals are drawn; a kernel since 5.18 says 256 once it is seeded."""
MIN_DIGEST_DIGITS = 6
"""Different hexadecimal digits in a digest: a real one has fewer once in 10^9, a placeholder has one or two."""
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


def of_error(name: str, expected: str, look: Callable[[], str], mend: str = "") -> Check:
    """A check that is good when ``look`` returns; else its error is what was got."""
    try:
        return Check(name, True, expected, look())
    except (WorkerError, ProofError, OSError, ValueError) as error:
        return Check(name, False, expected, printable(str(error), 1000), mend)


def memory_mib() -> int:
    """Available memory."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def floors(settings: Mapping[str, str], here: Path) -> Iterator[Check]:
    """Cores, memory and disk against the recipe's floors."""
    looks: tuple[tuple[str, str, Callable[[], int], str], ...] = (
        ("cores", "", lambda: len(os.sched_getaffinity(0)), "give the machine more, see `nproc`"),
        ("available memory", " MiB", memory_mib, "end what needs it, see `free -m`, or add some"),
        ("free disk", " MiB", lambda: shutil.disk_usage(here).free // _MIB, f"free some, see `df -h {here}`"),
    )
    for key, (name, unit, look, mend) in zip(HOST_FLOORS, looks, strict=True):
        floor = int(settings.get(key, "0") or "0")
        got = look()
        yield Check(name, got >= floor, f"at least {floor}{unit}", f"{got}{unit}", mend)


def tools() -> Iterator[Check]:
    """Programs that a build calls."""
    for tool in TOOLS:
        found = shutil.which(tool)
        mend = "install it: scripts/setup.sh" if tool.startswith("silvermetal") else f"`apt-get install {tool}`"
        yield Check(f"tool {tool}", found is not None, "on the PATH", "found" if found else "none", mend)


def modules(settings: Mapping[str, str], proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Iterator[Check]:
    """Kernel modules that the recipe names: loaded, or built into the kernel."""
    try:
        loaded = {line.split(" ", 1)[0] for line in (proc / "modules").read_text(encoding="utf-8").splitlines()}
    except FileNotFoundError:  # a kernel without modules has all that it has built in
        loaded = set()
    try:
        systems = {line.split()[-1] for line in (proc / "filesystems").read_text(encoding="utf-8").splitlines()}
    except FileNotFoundError:
        systems = set()
    for module in settings.get(MODULES, "").split():
        name = module.replace("-", "_")
        there = name in loaded or name in systems or (sys / "module" / name).is_dir()
        mend = f"`modprobe {module}`, and a line in /etc/modules-load.d/ keeps it"
        yield Check(f"kernel module {module}", there, "loaded or built in", "there" if there else "none", mend)


def loop_devices(settings: Mapping[str, str], dev: Path = Path("/dev")) -> Iterator[Check]:
    """As many loop devices as the recipe names, or the control by which they are made."""
    wanted = int(settings.get(DEVICE_COUNT, "0") or "0")
    if wanted:
        got = sum(1 for p in dev.glob("loop*") if re.fullmatch(r"loop[0-9]+", p.name) and p.is_block_device())
        mend = f"`modprobe loop max_loop={wanted}`, or `mknod /dev/loopN b 7 N` for each that is missing"
        yield Check("loop devices", got >= wanted, f"at least {wanted} in {dev}", str(got), mend)


def writable(name: str, folder: Path) -> Check:
    """A file can be written into ``folder``, which is made where it is missing."""

    def look() -> str:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor.") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
        return f"{folder} can be written"

    return of_error(name, f"{folder} to be writable", look, f"`chown {os.geteuid()} {folder}`, and see `df {folder}`")


def clock(skew: float) -> Check:
    """``skew`` is this host's clock less the master's, in seconds."""
    return Check(
        "clock",
        abs(skew) <= MAX_CLOCK_SKEW_SECONDS,
        f"within {MAX_CLOCK_SKEW_SECONDS} s of the master's",
        f"{skew:+.0f} s",
        "`timedatectl set-ntp true` (systemd-timesyncd or chrony) on whichever is wrong",
    )


def clock_of(url: str) -> float:
    """This host's clock less that of the web server at ``url``, in seconds; its ``Date`` is exact to one.

    :raises OSError: when it does not answer. :raises ValueError: when it says no time.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected http(s)://…, got {url!r}")
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:  # noqa: S310
        said = answer.headers.get("Date", "")
    return (datetime.now(UTC) - parsedate_to_datetime(said)).total_seconds()


def entropy(proc: Path = Path("/proc")) -> Check:
    """The kernel's pool of entropy."""
    name, expected = "entropy", f"at least {MIN_ENTROPY_BITS} bits"
    mend = "`apt-get install rng-tools-debian`, or give the virtual machine a virtio-rng device"
    try:
        bits = int((proc / "sys/kernel/random/entropy_avail").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        return Check(name, False, expected, printable(str(error), 200), mend)
    return Check(name, bits >= MIN_ENTROPY_BITS, expected, f"{bits} bits", mend)


def package_lock(data: bytes, expected: str = "") -> Check:
    """Whether a lock pins: it is the ordered one, and every digest in it is one of its own and no placeholder."""

    def look() -> str:
        if expected and (got := sha256(data)) != expected:
            raise ValueError(f"one with the digest {got}")
        lock = read_lock(data)
        if isinstance(lock, SnapshotLock):
            return f"Debian's snapshot {lock.value}"
        packages = lock.packages
        digests = [p.sha256 for p in packages]
        for package in packages:
            if len(set(package.sha256)) < MIN_DIGEST_DIGITS:
                raise ValueError(f"{package.name}: a digest that is a placeholder ({package.sha256[:16]}…)")
        if not packages or len(set(digests)) != len(digests):
            raise ValueError(f"{len(digests)} packages with {len(set(digests))} digests: one file under two names")
        return f"{len(packages)} packages, each by a digest of its own"

    wanted = f"the ordered lock ({expected[:19]})" if expected else "each package by a digest of its own"
    return of_error("package lock", wanted, look, "resolve it again: `scripts/silvermetal-resolve-lock`")


def room_in(name: str, folder: str, floor_mib: int) -> Check:
    """Free disk at the place of one of the engine's volumes, where this machine sees it."""
    place = Path(folder)
    if not place.is_dir():
        return Check(name, True, "a volume", f"there; its place {folder} is the engine's machine's, not looked at")
    got = shutil.disk_usage(place).free // _MIB
    mend = f"`docker volume rm {place.parent.name}` empties it (it is a cache), or see `df -h {folder}`"
    return Check(name, got >= floor_mib, f"at least {floor_mib} MiB free", f"{got} MiB free", mend)
