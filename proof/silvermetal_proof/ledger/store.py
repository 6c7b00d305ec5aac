"""The ledger on disk: static files that any web server can serve.

Layout: ``entries/000000000000`` … one file an entry, ``checkpoint`` the newest signed checkpoint.

Rules:

- Append only: an entry is written under a temporary name, synced, linked to its final name (which must not exist), and
  only then does the checkpoint cover it. Death at any byte leaves a whole entry or none.
- Opening proves that the entries still have the root that the checkpoint signed; truncated, altered, reordered or
  rewound entries are an error that says so, and nothing is appended to such a ledger.
- An entry beyond the checkpoint (death between the two writes) is covered by the next append; no verdict is lost.
- One writer at a time, by a lock on the folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silvermetal_proof.errors import LedgerError
from silvermetal_proof.ledger.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from silvermetal_proof.ledger.merkle import leaf_hash, root_hash
from silvermetal_proof.statement.keys import PublicKey, SigningKey

_ENTRY = re.compile(r"\A[0-9]{12}\Z")
MAX_ENTRY_BYTES = 8 * 1024 * 1024


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk. :raises OSError: from the file system."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes, *, replace: bool, mode: int = 0o644) -> None:
    """Write ``data`` so that ``path`` is whole or absent after a crash.

    :raises FileExistsError: when ``path`` exists and ``replace`` is false. :raises OSError: from the file system.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


class Ledger:
    """One log, read or appended to. ``origin`` is its name in checkpoints, ``key`` checks them."""

    def __init__(self, path: Path, origin: str, key: PublicKey) -> None:
        self.path = path
        self.origin = origin
        self.key = key

    @property
    def _entries(self) -> Path:
        return self.path / "entries"

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """While this is held nothing is appended: what a consistent copy is made under."""
        with self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._entries.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _count(self) -> int:
        names = (
            sorted(p.name for p in self._entries.iterdir() if _ENTRY.match(p.name)) if self._entries.is_dir() else []
        )
        for index, name in enumerate(names):
            if int(name) != index:
                raise LedgerError(f"ledger {self.path}: an entry is missing", expected=f"entry {index:012}", got=name)
        return len(names)

    def entry(self, index: int) -> bytes:
        """The bytes of one entry. :raises LedgerError: when it is missing or too large."""
        try:
            with (self._entries / f"{index:012}").open("rb") as stream:
                data = stream.read(MAX_ENTRY_BYTES + 1)
        except FileNotFoundError:
            raise LedgerError(f"ledger {self.path}: no entry {index}", expected="an entry", got="none") from None
        if len(data) > MAX_ENTRY_BYTES:
            raise LedgerError(f"ledger {self.path}: entry {index} is too large", expected=f"{MAX_ENTRY_BYTES} bytes")
        return data

    def leaves(self) -> list[bytes]:
        """The leaf hashes of all entries on disk."""
        return [leaf_hash(self.entry(index)) for index in range(self._count())]

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, checked; None for a log that has none yet."""
        try:
            data = (self.path / "checkpoint").read_bytes()
        except FileNotFoundError:
            return None
        return read_checkpoint(data, self.origin, self.key)

    def check(self) -> list[bytes]:
        """Prove the entries against the checkpoint; return all leaf hashes. :raises LedgerError: when they differ."""
        leaves = self.leaves()
        checkpoint = self.checkpoint()
        if checkpoint is None:
            # The first append signs the empty tree before it writes an entry: entries alone are a loss.
            if leaves:
                raise LedgerError(f"ledger {self.path}: checkpoint is missing", expected="a checkpoint", got="none")
            return leaves
        if checkpoint.size > len(leaves):
            raise LedgerError(
                f"ledger {self.path} is truncated", expected=f"{checkpoint.size} entries", got=f"{len(leaves)} entries"
            )
        if root_hash(leaves[: checkpoint.size]) != checkpoint.root:
            raise LedgerError(
                f"ledger {self.path} was altered",
                expected=f"root {checkpoint.root.hex()} over {checkpoint.size} entries",
                got=root_hash(leaves[: checkpoint.size]).hex(),
            )
        return leaves

    def append(self, entry: bytes, key: SigningKey) -> int:
        """Append one entry and sign a new checkpoint; return the entry's index.

        :raises LedgerError: when the ledger on disk does not hold. :raises OSError: when it cannot be written.
        """
        if len(entry) > MAX_ENTRY_BYTES:
            raise LedgerError("ledger entry is too large", expected=f"at most {MAX_ENTRY_BYTES} bytes", got=len(entry))
        with self._locked():
            leaves = self.check()
            if self.checkpoint() is None:
                self._sign([], key)
            index = len(leaves)
            write_durably(self._entries / f"{index:012}", entry, replace=False)
            leaves.append(leaf_hash(entry))
            self._sign(leaves, key)
            return index

    def _sign(self, leaves: list[bytes], key: SigningKey) -> None:
        checkpoint = Checkpoint(self.origin, len(leaves), root_hash(leaves))
        write_durably(self.path / "checkpoint", sign_checkpoint(checkpoint, key), replace=True)
