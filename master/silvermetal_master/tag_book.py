"""The book of tags: what the master knows of each tag's name, in files beside the records of builds.

Layout: ``tags/baseline.json``, the tags of the first look; ``tags/<digest of the ref>.json``, one a tag that came later
or changed; ``tags/looked``, the time of the last look.

Rules:

- Written durably; an entry begins once, by whoever sees the tag first (the event, the listing or the pin step), and
  what the name meant then is never written over.
- One writer at a time in this process; a second master in the folder is refused at its start.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from silvermetal_proof import canonical
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.model import format_time
from silvermetal_proof.tags import TagEntry

from silvermetal_master.errors import PinningError

MAX_ENTRY_BYTES = 64 * 1024
MAX_BASELINE_BYTES = 64 * 1024 * 1024
_writing = threading.Lock()


def now_text() -> str:
    """The time as records have it."""
    return format_time(datetime.now(UTC))


class TagBook:
    """The book in ``state`` (the folder of the master's records)."""

    def __init__(self, state: Path) -> None:
        self.path = state / "tags"

    def _file(self, ref: str) -> Path:
        return self.path / f"{hashlib.sha256(ref.encode()).hexdigest()}.json"

    def _read(self, file: Path) -> TagEntry | None:
        try:
            return TagEntry.parse(file.read_bytes(), limit=MAX_ENTRY_BYTES, what=str(file))
        except FileNotFoundError:
            return None

    def entry(self, ref: str) -> TagEntry | None:
        """What is known of one tag. :raises MalformedError: when its file is damaged."""
        return self._read(self._file(ref)) or self.baseline().get(ref)

    def has_baseline(self) -> bool:
        """Whether the first look was made."""
        return (self.path / "baseline.json").exists()

    def baseline(self) -> dict[str, TagEntry]:
        """The tags of the first look."""
        file = self.path / "baseline.json"
        try:
            plain = canonical.decode(file.read_bytes(), limit=MAX_BASELINE_BYTES, what=str(file))
        except FileNotFoundError:
            return {}
        if not isinstance(plain, list):
            raise MalformedError(str(file), expected="a list", got=type(plain).__name__)
        return {e.ref: e for e in (TagEntry.from_plain(one, what=str(file)) for one in plain)}

    def keep_baseline(self, entries: Mapping[str, TagEntry]) -> None:
        """Write the first look, once. :raises FileExistsError: when there is one."""
        self.path.mkdir(parents=True, exist_ok=True)
        data = canonical.encode([entries[ref].plain() for ref in sorted(entries)])
        write_durably(self.path / "baseline.json", data, replace=False)

    def entries(self) -> dict[str, TagEntry]:
        """Every tag that is known."""
        found = self.baseline()
        for file in sorted(self.path.glob("*.json")):
            if file.name != "baseline.json" and (one := self._read(file)) is not None:
                found[one.ref] = one
        return found

    def looked(self) -> None:
        """Leave the time of a look in ``tags/looked``: who watches the master sees by it that tags are looked at."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "looked").write_text(f"{now_text()}\n", encoding="ascii")

    def _change(self, ref: str, change: Callable[[TagEntry | None], TagEntry]) -> TagEntry:
        with _writing:
            before = self.entry(ref)
            after = change(before)
            if after != before:
                self.path.mkdir(parents=True, exist_ok=True)
                write_durably(self._file(ref), after.encode(), replace=True)
            return after

    def saw(self, ref: str, *ids: str, commit: str | None = None) -> TagEntry:
        """Note what ``ref`` means, where nothing is known of it yet; return what it meant first.

        ``ids`` are names of one commit; where one of them is known, the others are its names too.
        """
        names = tuple(dict.fromkeys(ids))

        def change(before: TagEntry | None) -> TagEntry:
            if before is None:
                return TagEntry(ref=ref, ids=names, commit=commit, seen=now_text())
            if not before.means(*names):
                return before
            return before.also(*names).model_copy(update={"commit": before.commit or commit})

        return self._change(ref, change)

    def keep(self, planned: TagEntry) -> TagEntry:
        """Write an entry as it was planned; what somebody else saw first meanwhile stays what the name means."""

        def change(before: TagEntry | None) -> TagEntry:
            if before is None or before.means(*planned.ids):
                return planned.also(*(before.ids if before is not None else ()))
            return before

        return self._change(planned.ref, change)

    def check(self, ref: str, object_: str, commit: str) -> None:
        """Say that ``ref`` is pinned now. :raises PinningError: when the name meant another commit first."""
        first = self.saw(ref, object_, commit, commit=commit)
        if not first.means(object_, commit):
            raise PinningError(
                f"{ref}: expected {first.commit or first.ids[0]}, which it meant first, got {commit}: the tag was "
                "moved, and a moved tag is not built; give the new commit a tag of its own"
            )
