"""How commands end: exit codes, and errors as one line.

Rules:

- One code a kind of failure; the message names the file. ``--json`` says the same as data.
"""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import click

from silvermetal_proof.errors import LedgerError, ProofError, SealError, SignatureError


class End(IntEnum):
    """Exit codes of ``silvermetal``."""

    HOLDS = 0
    OTHER_VERDICT = 1
    USAGE = 2
    UNREADABLE = 3
    SIGNATURE = 4
    STATEMENTS = 5
    POLICY = 6
    LEDGER = 7
    ISO = 8
    SUMS = 9
    NETWORK = 10
    REBUILT_OTHER = 11
    NOT_REBUILT = 12


CODES = (
    "Exit codes: 0 holds, 1 another verdict than REPRODUCED, 2 usage, 3 a file cannot be read, "
    "4 a signature or seal does not hold, 5 statements do not fit the verdict, 6 too few or not independent enough, "
    "7 the ledger does not hold, 8 the ISO is another one, 9 another file is not what SHA256SUMS says, "
    "10 a file could not be fetched, 11 built again it is another ISO, 12 it could not be built again."
)
"""What every command of this package says of its ends."""


class Refused(click.ClickException):
    """A check that failed, about one file."""

    def __init__(self, end: End, file: Path | str, why: str) -> None:
        super().__init__(f"{file}: {why}")
        self.end = end
        self.file = str(file)
        self.why = why

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click sets a class attribute; ours is one an instance
        """The code of this end."""
        return int(self.end)


def end_of(error: ProofError) -> End:
    """The exit code that fits an error."""
    if isinstance(error, (SignatureError, SealError)):
        return End.SIGNATURE
    return End.LEDGER if isinstance(error, LedgerError) else End.UNREADABLE


def read(path: Path, limit: int) -> bytes:
    """The bytes of a file; :raises Refused: when it cannot be read or is too large."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise Refused(End.UNREADABLE, path, f"expected a readable file, got {error.strerror}") from None
    if len(data) > limit:
        raise Refused(End.UNREADABLE, path, f"expected at most {limit} bytes, got more")
    return data


def finish(result: dict[str, Any], *, as_json: bool, text: str) -> NoReturn:
    """Print the result and end well."""
    click.echo(json.dumps(result, sort_keys=True, indent=2) if as_json else text)
    sys.exit(End.HOLDS)


def refuse(refused: Refused, *, as_json: bool) -> NoReturn:
    """Print why, and end with the code."""
    if as_json:
        value = {"ok": False, "end": refused.end.name, "file": refused.file, "why": refused.why}
        click.echo(json.dumps(value, sort_keys=True, indent=2))
    else:
        click.echo(f"silvermetal: {refused.file}: {refused.why}", err=True)
    sys.exit(int(refused.end))
