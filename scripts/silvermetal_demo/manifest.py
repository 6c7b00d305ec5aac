"""What a run makes on this machine outside its own folder, noted before it is made, and how each thing is undone.

- Written first, made second: whatever a `kill -9` leaves is in the file, and the next run sweeps it.
- Undoing is idempotent and never hits a stranger: a process is known by its id and its start time, a rule by its
  comment and a bridge by its alias with the run's name, and all of them only since the machine started.
- Things are undone in reverse order; one that fails does not keep the others, and the file stays as long as something
  is left.
- A demo that is alive holds the lock of the state folder (`state.py`), so a sweep never meets the things of a running
  one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from silvermetal_demo.command import run
from silvermetal_demo.errors import SetupFailed

CGROUPS = Path("/sys/fs/cgroup")


class Manifest:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = f"silvermetal-demo-{path.parent.name}"
        """What the run's things are called or marked with, where the kernel lets them be."""
        self._lock = threading.Lock()

    def process(self, pid: int) -> None:
        self._write("process", {"pid": pid, "start": start_time(pid)})

    def link(self, name: str) -> None:
        self._write("link", {"name": name, "alias": self.mark})

    def rule(self, table: str, chain: str, specification: list[str]) -> None:
        self._write("rule", {"table": table, "chain": chain, "specification": specification})

    def sysctl(self, path: str, before: str, now: str) -> None:
        self._write("sysctl", {"path": path, "before": before, "now": now})

    def cgroup(self, name: str) -> None:
        self._write("cgroup", {"name": name})

    def _write(self, kind: str, what: dict[str, object]) -> None:
        line = json.dumps({"boot": _boot_id(), "kind": kind, **what}, sort_keys=True) + "\n"
        with self._lock, self.path.open("a", encoding="utf-8") as stream:
            stream.write(line)

    def entries(self) -> list[dict[str, object]]:
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            # A kill -9 in the middle of a write leaves half a line, of a thing that was then never made.
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def undo_all(self) -> list[str]:
        """Undo everything, newest first. Returns what could not be undone, as sentences; empty is well."""
        problems = []
        # After a restart of the machine nothing of it is there, and ids and names may be anybody's.
        entries = [entry for entry in self.entries() if entry.pop("boot") == _boot_id()]
        for entry in reversed(entries):
            what = {key: value for key, value in entry.items() if key != "kind"}
            try:
                UNDO[str(entry["kind"])](**what)
            except (OSError, SetupFailed) as error:
                problems.append(f"{entry['kind']} {what}: {error}")
        if not problems:
            self.path.unlink(missing_ok=True)
        return problems


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: clock ticks after boot; with the id it names a process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name is in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def undo_process(pid: int, start: int | None) -> None:
    end = time.monotonic() + 10
    while start is not None and start_time(pid) == start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise SetupFailed(f"process {pid} is still there 10 s after SIGKILL")
        time.sleep(0.02)


def undo_link(name: str, alias: str) -> None:
    marked = Path(f"/sys/class/net/{name}/ifalias")
    if marked.exists() and marked.read_text().strip() not in ("", alias):
        return
    # A veth goes with its namespace when the kernel chooses: it may vanish between the look and the command.
    if Path(f"/sys/class/net/{name}").exists():
        run(["ip", "link", "delete", name], timeout=20, expected=(0, 1))
    if Path(f"/sys/class/net/{name}").exists():
        raise SetupFailed(f"network link {name} is still there; see: ip link show {name}")


def undo_rule(table: str, chain: str, specification: list[str]) -> None:
    rule = ["iptables", "-w", "20", "-t", table]
    while run([*rule, "-C", chain, *specification], timeout=30, expected=(0, 1, 2)).code == 0:
        run([*rule, "-D", chain, *specification], timeout=30)


def undo_sysctl(path: str, before: str, now: str) -> None:
    file = Path(path)
    # Somebody who has set a third value since meant it.
    if file.exists() and file.read_text().strip() == now:
        file.write_text(before)


def undo_cgroup(name: str) -> None:
    """The engines' control groups outlive their processes; in version 1 there is one tree for each controller."""
    for top in {CGROUPS, *(path for path in CGROUPS.glob("*") if path.is_dir() and not path.is_symlink())}:
        group = top / name
        if group.is_dir():
            _remove_tree_of_groups(group)


def _remove_tree_of_groups(group: Path) -> None:
    for folder, _folders, _files in os.walk(group, topdown=False):
        end = time.monotonic() + 5
        while True:
            try:
                Path(folder).rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                # Busy: the last process was killed and is not yet reaped.
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


UNDO: dict[str, Callable[..., None]] = {
    "process": undo_process,
    "link": undo_link,
    "rule": undo_rule,
    "sysctl": undo_sysctl,
    "cgroup": undo_cgroup,
}
