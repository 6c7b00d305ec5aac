"""JSON that travels between hosts: written whole or not at all, read within a bound.

Rules:
- A file of another host is hostile input: what it unpacks to is bounded before it is parsed.
- gzip carries no date, so the same document gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .errors import LimitExceeded, Unreadable

LARGEST = 192 << 20


def write(document: dict[str, Any], path: Path) -> None:
    """Compact JSON, by a temporary name; gzip without a date if the name ends in .gz."""
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode(
        "utf-8", "surrogateescape"
    )
    if path.suffix == ".gz":
        data = gzip.compress(data, 6, mtime=0)
    handle, temporary = tempfile.mkstemp(dir=path.parent or Path(), prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path, what: str) -> Any:
    """A JSON file, gzip or not, bounded."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, EOFError) as error:
        raise Unreadable(f"{path}: got {error}, expected a readable {what}") from None
    if len(data) > LARGEST:
        raise LimitExceeded(f"{path}: got more than {LARGEST} bytes, at most that is allowed in a {what}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: got {error}, expected a {what} in JSON") from None


def text(value: object) -> str:
    """A text and nothing else. :raises TypeError: for another type."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} where a text is expected")
    return value


def number(value: object) -> int:
    """A whole number of 64 bits and nothing else. :raises TypeError: for another type or size."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise TypeError(f"{value!r:.40} where a number of 64 bits is expected")
    return value
