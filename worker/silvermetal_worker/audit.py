"""Audit: prove the recipe's levers in the ISO and search it for what this host must not have left there.

Rules:

- Levers and leaks are looked for by ``silvermetal audit``, a process of its own (house rule 8). Its report stays beside
  the ISO; the statement names it by digest.
- The words are this host's names, its user, paths and addresses and the order's nonce. Logs are public: a hit is told
  by what the word is, never by the word, and the words reach the other process by a file that its owner alone reads.
- ``AUDIT`` in ``config/<recipe>.conf`` says what a finding does: ``warn`` (default) or ``fail``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import re
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silvermetal_proof.errors import printable
from silvermetal_proof.order import Order

from silvermetal_worker.errors import EXIT_BUILD_FAILED, EXIT_FINDINGS, EXIT_PIN_REFUSED, EXIT_TIMEOUT, WorkerError
from silvermetal_worker.settings import WorkerSettings

REPORT_FILE = "audit.json"
POLICY = "AUDIT"
TIMEOUT_SECONDS = 900
MAX_REPORT_BYTES = 8 * 1024 * 1024
SHORTEST = 4
"""Bytes; a shorter word is found in every image."""
EVERYWHERE = frozenset({"localhost", "localdomain", "debian", "root", "user", "linux", "build", "builder"})
"""Words that an image holds whoever builds it: a hit would say nothing."""
_FIRST_PERSON = 1000
_SIOCGIFADDR = 0x8915


@dataclass(frozen=True)
class Findings:
    """What the audit found: one line each, fit for a public log."""

    levers: tuple[str, ...]
    leaks: tuple[str, ...]
    checked: int

    @property
    def lines(self) -> tuple[str, ...]:
        """All findings."""
        return self.levers + self.leaks

    @property
    def summary(self) -> str:
        """One sentence."""
        if not self.lines:
            return f"{self.checked} levers show in the ISO, nothing of this host does"
        counts = f"{len(self.levers)} of {self.checked} levers had no effect, {len(self.leaks)} leaks"
        return f"{counts}: {'; '.join(self.lines[:3])}"


def _addresses() -> list[str]:
    """IPv4 and IPv6 addresses of this host's interfaces but loopback and link-local ones."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    try:
        rows = Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        rows = []
    found += [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row.split()[0])) for row in rows]
    return [a for a in found if not a.startswith(("127.", "fe80:")) and len(a) > len("::1")]


def words(order: Order, settings: WorkerSettings, output: Path, checkout: Path) -> dict[str, str]:
    """What must be nowhere in the ISO: word to what it is."""
    name = socket.gethostname()
    found = {order.nonce: "the nonce", order.host: "the host's name", order.worker: "the worker's name"}
    found |= {name: "the host's own name", name.partition(".")[0]: "the host's own name"}
    with contextlib.suppress(KeyError):  # a user whom nothing names leaves no name
        person = pwd.getpwuid(os.getuid())
        if person.pw_uid >= _FIRST_PERSON:  # every image has the system's own users
            found |= {person.pw_name: "the user's name", person.pw_dir: "the user's home"}
    found |= {str(checkout): "the build's path", str(output): "the output's path", settings.store: "the store's path"}
    found |= dict.fromkeys(_addresses(), "an address of the host")
    return {w: what for w, what in found.items() if len(w.encode()) >= SHORTEST and w.lower() not in EVERYWHERE}


def policy_of(order: Order) -> str:
    """``warn`` or ``fail``. :raises WorkerError: for anything else."""
    policy = order.pins.settings.get(POLICY, "warn")
    if policy not in ("warn", "fail"):
        raise WorkerError(f"{POLICY}: expected warn or fail, got {printable(policy, 40)!r}", EXIT_PIN_REFUSED)
    return policy


def _run(argv: list[str], report: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise WorkerError(
            f"silvermetal audit: expected an end within {TIMEOUT_SECONDS} s, got none", EXIT_TIMEOUT
        ) from None
    if done.returncode not in (0, 1):
        said = printable(done.stderr.decode(errors="replace").strip(), 300)
        raise WorkerError(f"silvermetal audit: expected exit code 0 or 1, got {done.returncode}: {said}", EXIT_FINDINGS)
    if report.stat().st_size > MAX_REPORT_BYTES:
        raise WorkerError(f"audit report: expected at most {MAX_REPORT_BYTES} bytes, got more", EXIT_FINDINGS)
    report.chmod(0o600)  # it names the words that were looked for, and a nonce is for one host
    value = json.loads(report.read_bytes())
    return dict(value)


def findings(report: dict[str, Any], known: dict[str, str]) -> Findings:
    """The report in lines that name no word."""
    failed = [c for c in report["levers"] if not c["ok"] and c["severity"] == "error"]
    levers = [f"{c['lever']}: expected {c['expected']}, got {c['got']} ({c['where']})" for c in failed]
    leaks = [f"{known.get(x['word'], 'a word')} in {x['path']} ({x['where']})" for x in report["leaks"]]
    return Findings(
        tuple(dict.fromkeys(_without(line, known) for line in levers)),
        tuple(dict.fromkeys(_without(line, known) for line in leaks)),
        len(report["levers"]),
    )


def _without(line: str, known: dict[str, str]) -> str:
    """A lever's or a path's text may hold a word itself, and an ISO's old names are in capitals."""
    for word in sorted(known, key=len, reverse=True):
        line = re.sub(re.escape(word), lambda _: f"<{known[word]}>", line, flags=re.IGNORECASE)  # noqa: B023 (called here)
    return printable(line, 300)


def audit(order: Order, settings: WorkerSettings, *, checkout: Path, folder: Path) -> Findings:
    """Audit the one ISO in ``folder`` and leave the report there. :raises WorkerError: when it cannot be audited."""
    isos = sorted(p for p in folder.glob("*.iso") if p.is_file() and not p.is_symlink())
    if len(isos) != 1:
        raise WorkerError(f"{folder}: expected exactly one ISO, got {len(isos)}", EXIT_BUILD_FAILED)
    known, report = words(order, settings, folder, checkout), folder / REPORT_FILE
    report.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile("w", prefix="audit-", suffix=".words", encoding="utf-8") as file:
        file.write("".join(f"{word}\n" for word in known if "\n" not in word))
        file.flush()
        argv = [str(Path(sys.executable).with_name("silvermetal")), "audit", str(isos[0])]
        argv += ["--build-info", str(folder / "BUILD_INFO"), "--lock", str(folder / "packages.lock")]
        argv += ["--leak-file", file.name, "--json", str(report)]
        return findings(_run(argv, report), known)
