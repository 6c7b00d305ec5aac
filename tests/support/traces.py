"""What a demo can leave on a machine, looked at from outside.

- Everything is asked of the kernel (/proc, ip, iptables), nothing of the demo.
- Another demo on the same machine (of another state folder) is known by the process id in its marks and is left out.
- A process is the demo's when its command line or environment names the state folder, or a control group of the
  demo holds it: so other work on the same machine does not disturb a comparison.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

# Links that engines of other work on the machine make and remove as they please.
FOREIGN_LINKS = re.compile(r"veth|docker|br-")


@dataclass(frozen=True)
class Traces:
    processes: tuple[str, ...]
    mounts: tuple[str, ...]
    links: tuple[str, ...]
    rules: tuple[str, ...]
    groups: tuple[str, ...]
    namespaces: tuple[str, ...]
    forwarding: str
    runs: tuple[str, ...]


def traces(state: Path) -> Traces:
    """What is there now. Another demo that lives is not looked at, nor are its links and rules."""
    return Traces(
        processes=tuple(_processes(str(state))),
        mounts=tuple(line for line in Path("/proc/self/mounts").read_text().splitlines() if str(state) in line),
        links=tuple(_links()),
        rules=tuple(_rules()),
        groups=tuple(
            sorted(str(path) for path in Path("/sys/fs/cgroup").glob("**/silvermetal-*") if not _others(path.name))
        ),
        namespaces=tuple(sorted(path.name for path in Path("/run/netns").glob("*"))),
        forwarding=Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        runs=tuple(sorted(path.name for path in (state / "run").glob("*"))),
    )


def left_since(before: Traces, state: Path) -> dict[str, object]:
    """What is there and was not before; empty is well."""
    after = traces(state)
    new = {
        field.name: sorted(set(getattr(after, field.name)) - set(getattr(before, field.name)))
        for field in fields(Traces)
        if field.name != "forwarding"
    }
    if after.forwarding != before.forwarding:
        new["forwarding"] = [before.forwarding, after.forwarding]
    return {name: found for name, found in new.items() if found}


def _processes(state: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
            group = (folder / "cgroup").read_text()
        except OSError:
            continue
        # pytest itself has the folder in its environment (PYTEST_CURRENT_TEST does not, SILVERMETAL_STATE may).
        held = "silvermetal-" in group and not _others(group)
        if command and "pytest" not in command and (held or state in command + environment):
            found.append(f"{folder.name} {command.strip()[:160]}")
    return sorted(found)


def _others(mark: str) -> bool:
    """Whether it names a run whose demo lives and is no child of this test."""
    run = re.search(r"[0-9]{8}-[0-9]{6}-([0-9]+)", mark)
    if run is None:
        return False
    try:
        parent = Path(f"/proc/{run[1]}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return False
    return int(parent) != os.getpid()


def _links() -> list[str]:
    told = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True, timeout=20).stdout
    links = json.loads(told)
    others = tuple(link["ifname"] for link in links if _others(link.get("ifalias", "")))
    names = (link["ifname"] for link in links)
    return sorted(name for name in names if not FOREIGN_LINKS.match(name) and not name.startswith(others or ("?",)))


def _rules() -> list[str]:
    told = subprocess.run(["iptables-save"], capture_output=True, check=True, timeout=20, text=True).stdout
    rules = (line for line in told.splitlines() if line.startswith("-A") and "docker" not in line.lower())
    return [line for line in rules if not _others(line)]
