"""What is to be sent, in files: it survives the master's death and is tried until it arrives or is given up.

Layout: ``outbox/<digest of the key>.json``; ``outbox/given-up/`` keeps what never arrived.

Rules:

- One file a key. A newer message of a key takes the place of an older one that was not sent yet (a status is what holds
  now); what was sent is removed only if it is still what the file says.
- Pauses grow; after :data:`MAX_TRIES` (about three days) it is given up, kept, and said in the log.
- No secret is in a message.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from silvermetal_proof.backoff import backoff
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.model import Line, Record
from twisted.python import log

MAX_TRIES = 80
FIRST_PAUSE = 5
LONGEST_PAUSE = 3600
MAX_BYTES = 256 * 1024
Channel = Literal["status", "mail", "webhook"]
_writing = threading.Lock()


class Message(Record):
    """One message. Times are in seconds since 1970."""

    key: Line
    channel: Channel
    payload: dict[str, Any]
    created: Annotated[int, Field(ge=0)]
    tries: Annotated[int, Field(ge=0)] = 0
    due: Annotated[int, Field(ge=0)] = 0
    problem: Annotated[str, Field(max_length=500)] = ""
    """Why it did not arrive last time."""


class Outbox:
    """The messages in ``state`` (the folder of the master's records)."""

    def __init__(self, state: Path) -> None:
        self.path = state / "outbox"

    def _file(self, key: str) -> Path:
        return self.path / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _read(self, file: Path) -> Message | None:
        try:
            return Message.parse(file.read_bytes(), limit=MAX_BYTES, what=str(file))
        except FileNotFoundError:
            return None

    def put(self, message: Message) -> None:
        """Keep a message to be sent; one that says the same is kept as it is, with its tries."""
        with _writing:
            before = self._read(self._file(message.key))
            if before is None or before.payload != message.payload:
                self.path.mkdir(parents=True, exist_ok=True)
                write_durably(self._file(message.key), message.encode(), replace=True)

    def waiting(self) -> list[Message]:
        """Everything that is to be sent, oldest first; a damaged file is named in the log and left."""
        found = []
        for file in self.path.glob("*.json"):
            try:
                message = self._read(file)
            except MalformedError as error:
                log.msg(f"outbox: {error}; it is not sent")
                continue
            if message is not None:
                found.append(message)
        return sorted(found, key=lambda m: (m.created, m.key))

    def sent(self, message: Message) -> None:
        """It arrived."""
        with _writing:
            now = self._read(self._file(message.key))
            if now is not None and now.payload == message.payload:
                self._file(message.key).unlink(missing_ok=True)

    def failed(self, message: Message, problem: str, now: int) -> Message | None:
        """It did not arrive: it is tried again later. Returns None where it is given up."""
        with _writing:
            file = self._file(message.key)
            current = self._read(file)
            if current is None or current.payload != message.payload:
                return current
            tries = message.tries + 1
            again = message.model_copy(
                update={
                    "tries": tries,
                    "due": now + backoff(tries, first=FIRST_PAUSE, most=LONGEST_PAUSE),
                    "problem": problem[:500],
                }
            )
            if tries < MAX_TRIES:
                write_durably(file, again.encode(), replace=True)
                return again
            folder = self.path / "given-up"
            folder.mkdir(exist_ok=True)
            write_durably(folder / file.name, again.encode(), replace=True)
            file.unlink(missing_ok=True)
            return None
