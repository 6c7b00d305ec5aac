"""Which workers are connected, and when each was seen last: a small file beside the records, for ``status``.

Rules:

- Written when somebody comes or goes and every half minute meanwhile, so that a master that was killed leaves a time
  that is at most that old.
- A worker that was never seen stands in it with nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from silvermetal_proof import ProofError, canonical
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.model import format_time
from twisted.internet.threads import deferToThread

from silvermetal_master.host_worker import HostWorker
from silvermetal_master.services.clockwork import Clockwork

FILE = "seen.json"
WRITE_SECONDS = 30
MAX_BYTES = 1024 * 1024


def read_seen(state: Path) -> dict[str, str]:
    """Worker to the time (RFC 3339) at which it was seen last; empty when nobody was."""
    try:
        value = canonical.decode((state / FILE).read_bytes(), limit=MAX_BYTES, what=FILE)
    except (FileNotFoundError, ProofError):
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


class Presence(Clockwork):
    """Keeps the file in ``state``."""

    name = "presence"

    def checkConfig(self, *, state: str) -> None:
        """Nothing to check."""
        super().checkConfig()

    def reconfigService(self, *, state: str) -> Any:
        """Take the folder."""
        self._state = Path(state)
        self._here: set[str] = set()
        self._written = 0.0
        return super().reconfigService()

    async def round(self) -> None:
        """Look who is here; write it down when it is time."""
        workers = self.master.workers.workers.items()
        here = {name for name, w in workers if isinstance(w, HostWorker) and w.conn is not None}
        now = self.master.reactor.seconds()
        if here == self._here and now - self._written < WRITE_SECONDS:
            return
        seen = dict.fromkeys(here | self._here, format_time(datetime.now(UTC)))
        # Before it is written: a disk that is full is tried again in half a minute, not each second.
        self._here, self._written = here, now
        await deferToThread(self._write, seen)

    def _write(self, seen: dict[str, str]) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        write_durably(self._state / FILE, canonical.encode({**read_seen(self._state), **seen}), replace=True)
