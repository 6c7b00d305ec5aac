"""A ledger in a folder, checked so that the file at fault is named.

Rules:

- Which entry was altered, no root says; but every entry is a verdict that the master signed: the first whose signature
  does not hold is named, and where all hold, the folder of the entries.
- What lies beyond the signed checkpoint is there by nobody's word, and is no entry.
"""

from __future__ import annotations

from pathlib import Path

from silvermetal_proof.cli.ends import End, Refused
from silvermetal_proof.errors import LedgerError, ProofError
from silvermetal_proof.ledger import Checkpoint, Ledger
from silvermetal_proof.verdict import verify_verdict


def _entries(book: Ledger) -> Path:
    return book.path / "entries"


def entry_file(book: Ledger, index: int) -> Path:
    """Where one entry lies."""
    return _entries(book) / f"{index:012}"


def _at_fault(book: Ledger, size: int) -> Path:
    """The file to name when the entries do not have the checkpoint's root."""
    for index in range(size):
        path = entry_file(book, index)
        if not path.is_file():
            return path
        try:
            verify_verdict(book.entry(index), book.key)
        except (ProofError, OSError):
            return path
    return _entries(book)


def check_whole(book: Ledger) -> tuple[Checkpoint, list[bytes]]:
    """The checkpoint and all leaf hashes below it. :raises Refused: naming the file at fault."""
    path = book.path / "checkpoint"
    try:
        checkpoint = book.checkpoint()
    except ProofError as error:
        raise Refused(End.LEDGER, path, str(error)) from None
    except OSError as error:
        raise Refused(End.UNREADABLE, path, f"expected a readable file, got {error.strerror}") from None
    if checkpoint is None:
        raise Refused(End.LEDGER, path, "expected the ledger's checkpoint, got no file")
    try:
        return checkpoint, book.check()[: checkpoint.size]
    except LedgerError as error:
        raise Refused(End.LEDGER, _at_fault(book, checkpoint.size), str(error)) from None
    except OSError as error:
        at = error.filename or _entries(book)
        raise Refused(End.UNREADABLE, at, f"expected a readable file, got {error.strerror}") from None


def check_entry(book: Ledger, envelope: bytes) -> int:
    """How many entries the checkpoint covers, ``envelope`` among them. :raises Refused: naming the file at fault."""
    checkpoint, _ = check_whole(book)
    if not any(book.entry(index) == envelope for index in range(checkpoint.size)):
        raise Refused(End.LEDGER, book.path, "expected the verdict among the entries, got none that is equal")
    return checkpoint.size
