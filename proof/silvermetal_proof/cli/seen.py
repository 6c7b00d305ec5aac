"""What was seen of a ledger before: a master that rewinds or forks it is caught by whoever remembers.

Rules:

- One file a ledger (origin and key) in the caller's state folder; it is written only after a release held.
- Two trees of one size have one root; one index holds one entry; a verdict that was decided well after another stands
  behind it. What differs is a fork or a rewind, whoever signed it.
- Checkpoints of different sizes are compared only over a copy of the ledger: without one, that is not claimed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import Field

from silvermetal_proof.errors import LedgerError
from silvermetal_proof.ledger import Checkpoint, Ledger, root_hash
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.model import Hex64, Record, Time, parse_time
from silvermetal_proof.statement import PublicKey

MAX_SEEN_BYTES = 4 * 1024 * 1024
_AT_ONCE_SECONDS = 3600
"""Verdicts decided closer together than this may be recorded in any order."""


class Entry(Record):
    """One release's place in the ledger, as it was shown."""

    size: int
    root: Hex64
    index: int
    leaf: Hex64
    decided: Time


class _File(Record):
    entries: tuple[Entry, ...] = Field(default=(), max_length=10000)


class Seen:
    """The memory of one ledger; ``state`` is None for a caller that remembers nothing."""

    def __init__(self, state: Path | None, origin: str, key: PublicKey) -> None:
        name = hashlib.sha256(f"{origin}\n{key.hex}\n".encode()).hexdigest()[:32]
        self._path = None if state is None else state / f"ledger-{name}.json"
        self._origin, self._key = origin, key

    @staticmethod
    def entry(checkpoint: Checkpoint, index: int, leaf: bytes, decided: str) -> Entry:
        """The record of what a release shows."""
        return Entry(size=checkpoint.size, root=checkpoint.root.hex(), index=index, leaf=leaf.hex(), decided=decided)

    def _known(self) -> tuple[Entry, ...]:
        if self._path is None or not self._path.exists():
            return ()
        return _File.parse(self._path.read_bytes(), limit=MAX_SEEN_BYTES, what=str(self._path)).entries

    def check(self, new: Entry, ledger: Path | None) -> None:
        """Does ``new`` go with everything that was seen? :raises LedgerError: when the ledger was rewound or forked."""
        known = self._known()
        for old in known:
            if old.size == new.size and old.root != new.root:
                raise LedgerError(
                    "the ledger was forked or rewound", expected=f"root {old.root} at size {old.size}", got=new.root
                )
            if old.index == new.index and old.leaf != new.leaf:
                raise LedgerError(
                    "the ledger was forked or rewound", expected=f"entry {old.index} as seen before", got="another"
                )
            later = (parse_time(new.decided) - parse_time(old.decided)).total_seconds()
            if (later > _AT_ONCE_SECONDS and new.index < old.index) or (
                later < -_AT_ONCE_SECONDS and new.index > old.index
            ):
                raise LedgerError(
                    "the ledger was rewound: entries are not in the order of their verdicts",
                    expected=f"entry {old.index} of {old.decided} on the other side",
                    got=f"entry {new.index} of {new.decided}",
                )
        if ledger is not None:
            leaves = Ledger(ledger, self._origin, self._key).check()
            for one in (*known, new):
                if one.size > len(leaves) or root_hash(leaves[: one.size]).hex() != one.root:
                    raise LedgerError(
                        f"ledger {ledger} does not hold what was seen",
                        expected=f"root {one.root} at size {one.size}",
                        got="another root" if one.size <= len(leaves) else f"only {len(leaves)} entries",
                    )

    def remember(self, new: Entry) -> None:
        """Write ``new`` down. :raises OSError: when it cannot be written."""
        known = self._known()
        if self._path is None or new in known:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._path, _File(entries=(*known, new)[-10000:]).encode(), replace=True)
