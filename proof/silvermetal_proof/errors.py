"""One family of errors, each of which says what was expected, what came, and what it was about.

Rules:

- Every error that ``silvermetal_proof`` raises on bad input is a :class:`ProofError`.
- ``got`` is shortened and stripped of control characters: it may come from a hostile worker and ends on terminals and
  in web pages.
"""

from __future__ import annotations

MAX_SHOWN = 200


def printable(value: object, limit: int = MAX_SHOWN) -> str:
    """Return ``value`` as one bounded line without control characters (no ANSI, no line breaks, no bidi marks)."""
    text = value if isinstance(value, str) else repr(value)
    head = text[: limit + 1]
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in head)
    return clean if len(text) <= limit else f"{clean[:limit]}…"


class ProofError(Exception):
    """Something did not hold. ``what`` names it; ``expected`` and ``got`` are for people."""

    def __init__(self, what: str, *, expected: object = None, got: object = None) -> None:
        self.what = printable(what, 400)
        self.expected = None if expected is None else printable(expected)
        self.got = None if got is None else printable(got)
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.got is not None:
            parts.append(f"got {self.got}")
        return ": ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else parts[0]


class MalformedError(ProofError):
    """A document is not in the one form that is accepted (size, encoding, JSON, schema)."""


class SignatureError(ProofError):
    """A signature does not hold, or its key is not one that counts."""


class SealError(ProofError):
    """A sealed statement cannot be opened."""


class LedgerError(ProofError):
    """The ledger contradicts itself or what was seen of it before."""
