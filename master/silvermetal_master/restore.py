"""From a backup to a master that goes on.

Rules:

- Every file is held against ``SHA256SUMS`` before the first one is written; a file too many or too few is refused.
- Nothing is overwritten: settings, master's folder and database must be new or empty.
- A backup is older than what it replaces. A checkpoint from elsewhere (``since``) tells whether entries of the ledger
  would be lost: that is said, and done only with a reason, which is kept beside the records.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from silvermetal_proof.ledger import Checkpoint, read_checkpoint, root_hash
from silvermetal_proof.ledger.checkpoint import MAX_CHECKPOINT_BYTES
from silvermetal_proof.model import format_time

from silvermetal_master.backup import ABOUT, SUMS, book_of, digest_of, files_of
from silvermetal_master.database import sqlite_file
from silvermetal_master.database_copy import put_database, refuse_tables
from silvermetal_master.errors import SettingsError
from silvermetal_master.run import STATE_FOLDER, write_base
from silvermetal_master.settings import Settings, load

RESTORED = "restored.json"
_SUM = re.compile(r"\A([0-9a-f]{64})  ([^\0\n]{1,1000})\Z")


class RewoundError(Exception):
    """The backup's ledger lacks entries that a checkpoint from elsewhere covers, or holds others."""


def check_backup(folder: Path) -> dict[str, Any]:
    """Hold every file against its sum; return ``backup.json``. :raises SettingsError: naming the first that differs."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SettingsError(f"{folder}: expected a backup with {SUMS}, got none") from None
    listed = {}
    for line in lines:
        match = _SUM.match(line)
        if match is None:
            raise SettingsError(f"{folder / SUMS}: expected lines of sha256sum, got {line[:80]!r}")
        listed[match[2]] = match[1]
    there = {str(path.relative_to(folder)) for path in files_of(folder)}
    for name in sorted(there ^ listed.keys()):
        got = "one that is not listed" if name in there else "none"
        raise SettingsError(f"{folder / name}: expected exactly the files of {SUMS}, got {got}")
    for name, expected in listed.items():
        if (got := digest_of(folder / name)) != expected:
            raise SettingsError(f"{folder / name}: expected SHA-256 {expected}, got {got}")
    about: dict[str, Any] = json.loads((folder / ABOUT).read_bytes())
    if about.get("version") != 1:
        raise SettingsError(f"{folder / ABOUT}: expected version 1, got {about.get('version')!r}")
    return about


def _refuse_what_is_there(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SettingsError(f"{path}: expected a new or empty folder, got one with content; nothing is overwritten")


def _lost(settings: Settings, ledger: Path, since: Path) -> str | None:
    """What would be lost against the checkpoint in ``since``; None when the backup's ledger holds all of it."""
    book = book_of(settings, ledger)
    leaves = book.check()
    with since.open("rb") as stream:
        old: Checkpoint = read_checkpoint(stream.read(MAX_CHECKPOINT_BYTES + 1), settings.ledger.origin, book.key)
    if old.size > len(leaves):
        return (
            f"the ledger of this backup is rewound: expected the {old.size} entries of {since}, got {len(leaves)}; "
            f"{old.size - len(leaves)} recorded verdicts would be lost"
        )
    if root_hash(leaves[: old.size]) != old.root:
        return f"the ledger of this backup is forked: expected the {old.size} entries of {since}, got others"
    return None


def restore(folder: Path, basedir: Path, config: Path, *, since: Path | None, rewound: str | None) -> dict[str, Any]:
    """Make ``basedir`` and ``config`` from the backup in ``folder``; return what it was, and what is lost (``lost``).

    :raises SettingsError: when the backup is not whole or something is in the way.
    :raises RewoundError: when the ledger would be rewound and ``rewound``, the reason why it may be, is None.
    """
    about = check_backup(folder)
    settings = load(folder / "config", judging=True)
    _refuse_what_is_there(basedir)
    _refuse_what_is_there(config)
    url = settings.database
    if sqlite_file(basedir, url) is None:
        refuse_tables(basedir, url)
    lost = _lost(settings, folder / "state" / "ledger", since) if since is not None else None
    if lost is not None and rewound is None:
        raise RewoundError(
            f"{lost}. Restore a newer backup; where there is none, call this again with --rewound REASON and tell "
            "everybody who keeps a checkpoint"
        )
    parts = {path: path.with_name(f".{path.name}.part") for path in (basedir, config)}
    try:
        for part in parts.values():
            shutil.rmtree(part, ignore_errors=True)
            part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "config", parts[config])
        shutil.copytree(folder / "state", parts[basedir] / STATE_FOLDER)
        note = {"backup": about, "restored": format_time(datetime.now(UTC)), "lost": lost, "rewound": rewound}
        text = json.dumps(note, sort_keys=True, indent=2) + "\n"
        (parts[basedir] / STATE_FOLDER / RESTORED).write_text(text, encoding="utf-8")
        write_base(parts[basedir], config)
        put_database(folder, parts[basedir], url)
        os.sync()
        for path in (config, basedir):
            if path.exists():
                path.rmdir()
            parts[path].rename(path)
    except BaseException:
        for part in parts.values():
            shutil.rmtree(part, ignore_errors=True)
        raise
    return {**about, "lost": lost}
