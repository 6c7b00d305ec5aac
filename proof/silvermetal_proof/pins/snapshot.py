"""The resolved input of a recipe whose packages come from a snapshot: the snapshot, in the place of a package lock.

Rules:

- It travels where a package lock travels (``packages.lock``) and is pinned as one is: by the digest of its bytes.
- It is a function of the pin files alone, so that a host can compare what it was handed with what its checkout says.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import StringConstraints

from silvermetal_proof.errors import MalformedError
from silvermetal_proof.model import Record
from silvermetal_proof.pins.lock import MAX_LOCK_BYTES, PackageLock

Timestamp = Annotated[str, StringConstraints(pattern=r"\A20[0-9]{6}T[0-9]{6}Z\z")]
"""A moment of Debian's snapshots, ``YYYYMMDDTHHMMSSZ``."""
DEPENDENCY = "debian snapshot"
"""Its name among the inputs of a statement."""


class SnapshotLock(Record):
    """Debian's archive at one moment."""

    version: Literal[1]
    architecture: Literal["amd64", "arm64"]
    suite: Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9.-]{0,31}\z")]
    snapshot: Timestamp

    @property
    def value(self) -> str:
        """As a statement names it."""
        return f"{self.suite} {self.snapshot}"


def read_lock(data: bytes, name: str = "package lock") -> PackageLock | SnapshotLock:
    """Read either. :raises MalformedError: when it is neither, with the path of what is wrong."""
    try:
        is_snapshot = len(data) <= MAX_LOCK_BYTES and "snapshot" in json.loads(data)
    except (ValueError, TypeError, RecursionError):
        is_snapshot = False
    if not is_snapshot:
        return PackageLock.read(data, name)
    lock = SnapshotLock.parse(data, limit=MAX_LOCK_BYTES, what=name)
    if lock.encode() != data:
        raise MalformedError(f"{name} is not canonical", expected="sorted keys, no spaces", got="another form")
    return lock
