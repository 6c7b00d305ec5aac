"""A backup: one folder with database, records, ledger, keys and settings, consistent while the master runs.

Layout: ``backup.json``, ``SHA256SUMS`` (``sha256sum -c`` reads it), ``database.*``, ``state/``, ``config/``.

Rules:

- The database first, then the records, then, while nothing can be appended, what changed meanwhile and the ledger. So a
  restored master finds for each entry of its ledger the signed verdict, and enters none twice; a build that was running
  is asked for again (H7).
- Sealing keys and delivery tokens of running builds, the mirror of the repository, ISOs and half-written files stay
  out: what they are for ends with the master, or can be had again.
- Under a temporary name until it is whole and synced; an existing folder is never touched. Its mode is 0700: it holds
  every secret of the installation.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from silvermetal_proof.ledger import Ledger
from silvermetal_proof.ledger.store import sync
from silvermetal_proof.model import format_time
from silvermetal_proof.statement import PublicKey

from silvermetal_master.database_copy import copy_database
from silvermetal_master.errors import SettingsError
from silvermetal_master.monitoring.survey import LAST_BACKUP
from silvermetal_master.run import STATE_FOLDER, config_of
from silvermetal_master.settings import Settings, load

ABOUT, SUMS = "backup.json", "SHA256SUMS"
_LEFT_OUT = {"seal.key", "incoming.part", "delivery.json", ".lock", LAST_BACKUP}
_LEFT_OUT_FOLDERS = {"mirror.git"}
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Taken:
    """What a backup holds."""

    folder: Path
    files: int
    size: int
    entries: int
    root: str | None


def book_of(settings: Settings, ledger: Path) -> Ledger:
    """The ledger in ``ledger``, checked by the installation's public key; needs no secret."""
    key = PublicKey((settings.folder / "master.pub").read_text(encoding="ascii").strip())
    return Ledger(ledger, settings.ledger.origin, key)


def wanted(path: Path) -> bool:
    """Whether a file of the records or settings belongs into a backup."""
    half_written = path.name.startswith(".") and path.name.endswith(".tmp")
    return not half_written and path.name not in _LEFT_OUT and path.suffix != ".iso"


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's files that are new or changed since an earlier pass; one that goes meanwhile is left out."""
    for place, folders, names in os.walk(source):
        folders[:] = sorted(f for f in folders if f not in _LEFT_OUT_FOLDERS)
        here = target / Path(place).relative_to(source)
        here.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in filter(lambda n: wanted(Path(n)), sorted(names)):
            old, new = Path(place, name), here / name
            try:
                state = old.stat()
                if new.exists() and (new.stat().st_mtime_ns, new.stat().st_size) == (state.st_mtime_ns, state.st_size):
                    continue
                shutil.copy2(old, new)
            except FileNotFoundError:
                continue


def files_of(folder: Path) -> list[Path]:
    """Every file below ``folder`` but its list of sums, in order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / SUMS)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def backup(basedir: Path, target: Path, now: datetime | None = None) -> Taken:
    """Back up the master in ``basedir`` into the new folder ``target``. :raises SettingsError: when it cannot be."""
    config = config_of(basedir)
    settings = load(config, judging=True)
    state = basedir / STATE_FOLDER
    if target.exists():
        raise SettingsError(f"{target}: expected a new folder, got one that exists; nothing is overwritten")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    try:
        database = copy_database(basedir, settings.database, part)
        _copy(config, part / "config")
        if state.is_dir():
            _copy(state, part / "state")
            with book_of(settings, state / "ledger").quiet():
                _copy(state, part / "state")
        book = book_of(settings, part / "state" / "ledger")
        book.check()
        head = book.checkpoint()
        about: dict[str, Any] = {
            "version": 1,
            "taken": format_time(now or datetime.now(UTC)),
            "software": version("silvermetal-build-master"),
            "database": database,
            "ledger": {
                "origin": settings.ledger.origin,
                "size": head.size if head else 0,
                "root": head.root.hex() if head else None,
            },
        }
        (part / ABOUT).write_text(json.dumps(about, sort_keys=True, indent=2) + "\n", encoding="utf-8")
        files = files_of(part)
        sums = "".join(f"{digest_of(path)}  {path.relative_to(part)}\n" for path in files)
        (part / SUMS).write_text(sums, encoding="utf-8")
        for path in (*files, part / SUMS):
            sync(path)
        part.rename(target)
        sync(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if state.is_dir():
        (state / LAST_BACKUP).touch()
    size = sum(p.stat().st_size for p in files_of(target))
    return Taken(target, len(files), size, about["ledger"]["size"], about["ledger"]["root"])
