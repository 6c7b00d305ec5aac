"""The base of every record that travels: strict, frozen, with errors that name the path.

Rules:

- Unknown keys are refused, values are never converted (a ``"1"`` is no ``1``), instances never change.
- A schema error becomes a :class:`MalformedError` with the path of the first key at fault, expected and got.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from silvermetal_proof import canonical
from silvermetal_proof.errors import MalformedError

Hex64 = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]
"""64 lower-case hexadecimal digits: a SHA-256 digest or a 32-byte nonce."""

Sha256 = Annotated[str, StringConstraints(pattern=r"\Asha256:[0-9a-f]{64}\z")]
"""A digest as the project writes it: ``sha256:<64 hex>``."""

Commit = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{40}\z")]
"""A full Git commit id (SHA-1 object format, 40 hex)."""

Name = Annotated[str, StringConstraints(pattern=r"\A[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?\z")]
"""A host, worker, recipe, site or operator: lower case, safe as a file name and in a URL."""

Line = Annotated[str, StringConstraints(max_length=1024, pattern=r"\A[^\x00-\x1f\x7f]*\z")]
"""One line of text without control characters, at most 1024 characters."""

# Only the digits 0-9: times of one length are also compared as texts.
_TIME = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")


def _time(text: str) -> str:
    parse_time(text)
    return text


Time = Annotated[str, AfterValidator(_time)]
"""A time in UTC to the second, RFC 3339: ``2026-01-31T23:59:59Z``."""


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 UTC time to the second; :raises ValueError: otherwise."""
    if not _TIME.match(text):
        raise ValueError(f"not a UTC time like 2026-01-31T23:59:59Z: {text[:40]!r}")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def format_time(moment: datetime) -> str:
    """Format an aware ``moment`` as RFC 3339 UTC to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Record(BaseModel):
    """A frozen, strict record; :meth:`parse` is the only way in for bytes that others wrote."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    @classmethod
    def parse(cls, data: bytes, *, limit: int, what: str) -> Self:
        """Read one record from JSON; :raises MalformedError: with the path of what is wrong."""
        return cls.from_plain(canonical.decode(data, limit=limit, what=what), what=what)

    @classmethod
    def from_plain(cls, value: Any, *, what: str) -> Self:
        """Make one record from parsed JSON or TOML; :raises MalformedError: with the path of what is wrong."""
        try:
            # Through JSON, because strict mode takes no list for a tuple and no string for an enum from Python values.
            return cls.model_validate_json(canonical.encode(value))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = ".".join(str(part) for part in first["loc"]) or "(top)"
            raise MalformedError(f"{what}: {path}", expected=first["msg"], got=first["input"]) from None
        except (TypeError, ValueError) as error:
            raise MalformedError(f"{what} cannot be read", expected="plain data", got=str(error)) from None

    def plain(self) -> dict[str, Any]:
        """The record as plain JSON data, with the names that travel, without fields that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def encode(self) -> bytes:
        """The record's canonical bytes."""
        return canonical.encode(self.plain())
