"""The workers: one per enrolled host, and the master's own coordinators.

Rules:

- A host's worker runs one build at a time; its password is a secret of the master, and it proves its key at connect.
- A coordinator is not quarantined: a failed verdict is no fault of the machine that reached it.
"""

from __future__ import annotations

from typing import Any

from buildbot.plugins import util
from buildbot.worker.local import LocalWorker

from silvermetal_master.builders import PUBLISHER, active_hosts, attributes, attributor, coordinator_names
from silvermetal_master.connections import PREFIX
from silvermetal_master.host_worker import HostWorker
from silvermetal_master.settings import Settings, entry_file, password_name


class Coordinator(LocalWorker):
    """A worker inside the master, for ``verify``."""

    def putInQuarantine(self) -> None:
        """Stay in service."""


def make_workers(settings: Settings) -> list[Any]:
    """All workers."""
    hosts = [
        HostWorker(
            entry.worker,
            util.Secret(password_name(entry.worker)),
            max_builds=1,
            missing_timeout=settings.notices.missing_after,
            public_key=entry.public_key,
            master_id=settings.master.id,
            entry=str(entry_file(settings.folder, entry.host)),
            tls=str(settings.folder) if settings.master.workers.startswith(PREFIX) else None,
            properties={"host": entry.host, "site": entry.site},
        )
        for entry in active_hosts(settings)
    ]
    publisher = [Coordinator(PUBLISHER, max_builds=1)] if settings.receive is not None else []
    own = [*coordinator_names(settings), *([attributor(settings)] if attributes(settings) else [])]
    return [*publisher, *(Coordinator(name, max_builds=1) for name in own), *hosts]
