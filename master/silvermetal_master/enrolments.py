"""The enrolments of an installation: who vouches for each host, and shutting one out.

Rules:

- A signature that does not hold is an error at any policy; a missing one only where policy asks for I3 or more, which
  no host can reach without it.
- A revocation needs no operator's key and changes nothing else of the entry; the first one stands.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from silvermetal_proof.host import HostEntry, Level, operator_signed
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.model import format_time

from silvermetal_master.authority import worker_file
from silvermetal_master.errors import SettingsError
from silvermetal_master.settings import Settings, entry_file, load, read_entry


def check_enrolments(folder: Path) -> tuple[Settings, list[dict[str, Any]]]:
    """The settings and what is vouched for. :raises SettingsError: naming the entry and what to do."""
    settings = load(folder)
    found = []
    for entry in settings.hosts:
        unsigned = operator_signed(entry, settings.operators)
        if unsigned is not None and entry.revoked is None:
            how = f"`silvermetal enroll {entry_file(folder, entry.host)} --key FILE` signs it"
            if entry.operator_signature is not None:
                raise SettingsError(
                    f"{entry_file(folder, entry.host)}: operator_signature: expected one of operator {entry.operator} "
                    f"(master.toml, operators), got another: {unsigned}; {how}"
                )
            if settings.policy.min_independence >= Level.I3:
                raise SettingsError(
                    f"{entry_file(folder, entry.host)}: expected an operator's signature, as policy.min_independence "
                    f"is {settings.policy.min_independence}, got none: {unsigned}; {how}"
                )
        found.append(
            {
                "host": entry.host,
                "worker": entry.worker,
                "operator": entry.operator,
                "site": entry.site,
                "signed": unsigned is None,
                "unsigned": unsigned,
                "revoked": entry.revoked,
            }
        )
    return settings, found


def revoked_since(file: Path) -> str | None:
    """Since when the host of this entry is revoked, as it stands on disk now; None when it is not.

    An entry that is gone or cannot be read says why: who cannot be looked up is not let in.
    """
    try:
        return read_entry(file).revoked
    except SettingsError as error:
        return str(error)


def revoke(folder: Path, host: str, reason: str, now: datetime) -> HostEntry:
    """Write the revocation into the host's entry. :raises SettingsError: when there is none, or it is revoked."""
    entry = load(folder, secrets_needed=False, judging=True).host(host)
    if entry is None:
        raise SettingsError(f"{entry_file(folder, host)}: expected an enrolled host, got none")
    if entry.revoked is not None:
        raise SettingsError(
            f"{entry_file(folder, host)}: expected a host that is not revoked, got one revoked {entry.revoked}"
        )
    changed = HostEntry.from_plain(
        {**entry.plain(), "revoked": format_time(now), "revocation_reason": reason}, what=f"host {host}"
    )
    plain = changed.plain()
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in plain.items() if value is not None
    ]
    write_durably(entry_file(folder, host), "".join(lines).encode(), replace=True)
    worker_file(folder, entry.worker).unlink(missing_ok=True)
    return changed
