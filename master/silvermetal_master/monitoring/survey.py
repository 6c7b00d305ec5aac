"""What is looked at when somebody asks: ledger, verdicts, disk, certificates, backup — on a thread; then the queue.

Rules:

- Read-only and bounded: each look reads what is new in the ledger and nothing twice.
- What cannot be looked at is a problem in words, and its metric is left out; the other metrics are still told.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import PublicKey
from silvermetal_proof.verdict import Outcome, verify_verdict

from silvermetal_master.authority import certificates, server_file, worker_file
from silvermetal_master.monitoring.exposition import Family
from silvermetal_master.settings import Settings

LAST_BACKUP = "last-backup"


@dataclass
class Found:
    """One look. Sizes are bytes, times seconds since the epoch."""

    ledger_size: int | None = None
    disk_free: int = 0
    disk_total: int = 0
    ends: dict[str, float] = field(default_factory=dict)
    """Certificates: ``port`` or the worker's name, to the end of the newest."""
    last_backup: float = 0.0
    problems: list[str] = field(default_factory=list)


class Survey:
    """Looks at the records in ``state`` for ``settings``."""

    def __init__(self, settings: Settings, state: Path) -> None:
        self._settings, self._state = settings, state
        self._verdicts: Counter[str] = Counter({str(outcome): 0 for outcome in Outcome})
        self._read = 0

    def look(self) -> Found:
        """All of it; called on a thread."""
        found = Found()
        usage = shutil.disk_usage(self._state if self._state.is_dir() else self._state.parent)
        found.disk_free, found.disk_total = usage.free, usage.total
        try:
            self._ledger(found)
        except (ProofError, OSError) as error:
            found.problems.append(f"ledger: {error}")
        for name, file in self._certificates().items():
            try:
                own = certificates(file)[:1]
            except ValueError as error:
                found.problems.append(f"certificate {file}: {error}")
                continue
            if own:
                found.ends[name] = own[0].not_valid_after_utc.timestamp()
        note = self._state / LAST_BACKUP
        found.last_backup = note.stat().st_mtime if note.exists() else 0.0
        return found

    def _certificates(self) -> dict[str, Path]:
        folder = self._settings.folder
        active = [h.worker for h in self._settings.hosts if h.revoked is None]
        return {"port": server_file(folder)} | {worker: worker_file(folder, worker) for worker in active}

    def _ledger(self, found: Found) -> None:
        key = PublicKey((self._settings.folder / "master.pub").read_text(encoding="ascii").strip())
        book = Ledger(self._state / "ledger", self._settings.ledger.origin, key)
        head = book.checkpoint()
        size = head.size if head is not None else 0
        if size < self._read:
            # Somebody put an older one in its place: said until the master is started again.
            found.problems.append(f"ledger: expected {self._read} entries or more, got {size}: it was rewound")
        while self._read < size:
            outcome = verify_verdict(book.entry(self._read), key).verdict.outcome
            self._verdicts[str(outcome)] += 1
            self._read += 1
        found.ledger_size = size
        if book.path.exists() and not os.access(book.path, os.W_OK):
            found.problems.append(f"ledger: {book.path}: expected a folder that can be written, got another")

    def families(self, found: Found) -> list[Family]:
        """The look as metrics."""
        verdicts = Family("silvermetal_verdicts_total", "counter", "Verdicts in the ledger, by outcome.")
        for outcome, count in self._verdicts.items():
            verdicts.add(count, outcome=outcome)
        gauges = [
            verdicts,
            _gauge("silvermetal_disk_free_bytes", "Free where the records lie.", found.disk_free),
            _gauge("silvermetal_disk_total_bytes", "Size of the disk where the records lie.", found.disk_total),
            _gauge("silvermetal_last_backup_timestamp_seconds", "The last backup; 0 for none.", found.last_backup),
        ]
        if found.ledger_size is not None:
            gauges.append(_gauge("silvermetal_ledger_entries", "Entries of the ledger.", found.ledger_size))
        ends = Family("silvermetal_certificate_end_timestamp_seconds", "gauge", "When a TLS certificate ends.")
        for name, end in found.ends.items():
            ends.set(end, name=name)
        return [*gauges, ends]


def _gauge(name: str, text: str, value: float) -> Family:
    family = Family(name, "gauge", text)
    family.set(value)
    return family


def now() -> float:
    """The clock."""
    return time.time()


def days_left(end: float) -> int:
    """Whole days until ``end``."""
    return int((datetime.fromtimestamp(end, UTC) - datetime.now(UTC)).total_seconds() // 86400)
