"""What a demo can leave on a machine, looked at from outside.

- Everything is asked of the kernel (/proc, ip, iptables), nothing of the demo.
- A process is the demo's when its command line or environment names the state folder, or a control group of the
  demo holds it: so other work on the same machine does not disturb a comparison.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
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
    return Traces(
        processes=tuple(_processes(str(state))),
        mounts=tuple(line for line in Path("/proc/self/mounts").read_text().splitlines() if str(state) in line),
        links=tuple(_links()),
        rules=tuple(_rules()),
        groups=tuple(sorted(str(path) for path in Path("/sys/fs/cgroup").glob("**/silvermetal-*"))),
        namespaces=tuple(sorted(path.name for path in Path("/run/netns").glob("*"))),
        forwarding=Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        runs=tuple(sorted(path.name for path in (state / "run").glob("*"))),
    )


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
        if command and "pytest" not in command and (state in command + environment or "silvermetal-" in group):
            found.append(f"{folder.name} {command.strip()[:160]}")
    return sorted(found)


def _links() -> list[str]:
    told = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True, timeout=20).stdout
    return sorted(link["ifname"] for link in json.loads(told) if not FOREIGN_LINKS.match(link["ifname"]))


def _rules() -> list[str]:
    told = subprocess.run(["iptables-save"], capture_output=True, check=True, timeout=20, text=True).stdout
    return [line for line in told.splitlines() if line.startswith("-A") and "docker" not in line.lower()]
