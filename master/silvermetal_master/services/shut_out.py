"""Ending the connection of a host at once when it is revoked, without a restart.

Rules:

- The entries on disk are what counts: whoever writes ``revoked`` into one has shut the host out within a second or two.
- Its connection is cut, and what was asked of it and has not ended is cancelled: a verification that waits for it goes
  on to its verdict instead of to the deadline.
- A later verification does not ask the host (step *pin*); what its builders are asked all the same is cancelled here.
- An entry that cannot be read shuts nobody out; the log says so once for each of its states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.data.resultspec import Filter
from silvermetal_proof.host import HostEntry
from twisted.python import log

from silvermetal_master.builders import iso_builder
from silvermetal_master.errors import SettingsError
from silvermetal_master.services.clockwork import Clockwork
from silvermetal_master.settings import read_entry
from silvermetal_master.steps.rally import cut


class ShutOut(Clockwork):
    """Watches ``hosts`` (a folder of entries)."""

    name = "shut-out"

    def checkConfig(self, *, hosts: str) -> None:
        """Nothing to check."""
        super().checkConfig()

    def reconfigService(self, *, hosts: str) -> Any:
        """Take the folder."""
        self._hosts = Path(hosts)
        self._seen: dict[Path, int] = {}
        self._revoked: dict[str, HostEntry] = {}
        return super().reconfigService()

    def _look(self) -> None:
        """Read the entries that are new or have changed since the last look."""
        for file in sorted(self._hosts.glob("*.toml")):
            try:
                state = file.stat().st_mtime_ns
                if self._seen.get(file) == state:
                    continue
                self._seen[file] = state
                entry = read_entry(file)
            except (SettingsError, OSError) as error:
                log.msg(f"{self.name}: {error}")
                continue
            if entry.revoked is None:
                self._revoked.pop(entry.host, None)
            else:
                self._revoked[entry.host] = entry

    async def round(self) -> None:
        """Look, and shut out."""
        self._look()
        for entry in self._revoked.values():
            worker = self.master.workers.workers.get(entry.worker)
            if worker is not None and worker.conn is not None:
                log.msg(f"host {entry.host} is revoked since {entry.revoked}: cutting the connection of {entry.worker}")
                cut(worker.conn)
            if iso_builder(entry.host) in self.master.botmaster.builders:
                await self._cancel(entry.host)

    async def _cancel(self, host: str) -> None:
        """Cancel what was asked of the host's builders and has not ended."""
        for builder in await self.master.data.get(("builders",)):
            if builder["name"].partition("@")[2] != host:
                continue
            asked = await self.master.data.get(
                ("builders", builder["builderid"], "buildrequests"), filters=[Filter("complete", "eq", [False])]
            )
            for request in asked:
                why = {"reason": f"host {host} is revoked"}
                await self.master.data.control("cancel", why, ("buildrequests", request["buildrequestid"]))
