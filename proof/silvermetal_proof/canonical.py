"""JSON in one form: what is written is canonical, what is read is bounded and unambiguous.

Rules:

- Writing: UTF-8, sorted keys, no insignificant white space, ASCII only (evidence passes through channels that fail on
  other bytes), no floats that are not finite.
- Reading: size bounded before parsing, nesting bounded, duplicate keys refused (RFC 8259 section 4 leaves their meaning
  open, so two readers may disagree), ``NaN``, ``Infinity`` and what overflows to it refused, integers bounded to 19
  digits, valid UTF-8 and paired surrogates only.
"""

from __future__ import annotations

import json
import math
from typing import Any

from silvermetal_proof.errors import MalformedError

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 19


def encode(value: Any) -> bytes:
    """Return the canonical bytes of ``value``; equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def pretty(value: Any) -> bytes:
    """Return ``value`` as JSON for people: the same order, indented, one trailing newline."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=2)
    # What a terminal would obey (C1 controls, bidi marks) stays escaped: the value may be a hostile worker's.
    shown = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    return shown.encode() + b"\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise MalformedError("JSON object has the same key twice", expected="each key once", got=key)
        result[key] = value
    return result


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise MalformedError("JSON integer is too long", expected=f"at most {MAX_INTEGER_DIGITS} digits", got=text)
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _constant(text)


def _constant(text: str) -> Any:
    raise MalformedError("JSON number is not finite", expected="a finite number", got=text)


def _depth(data: bytes) -> int:
    """The deepest nesting of brackets outside strings, without recursion (a parser's recursion is what is attacked)."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def decode(data: bytes, *, limit: int, what: str = "document") -> Any:
    """Parse ``data`` (at most ``limit`` bytes).

    :raises MalformedError: for anything that is not one unambiguous, bounded JSON value.
    """
    if len(data) > limit:
        raise MalformedError(f"{what} is too large", expected=f"at most {limit} bytes", got=f"{len(data)} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not UTF-8", expected="UTF-8", got=f"byte {data[error.start]:#04x}") from None
    # Cheap upper bound first: the exact count walks each byte and is only needed for documents with many brackets.
    if text.count("[") + text.count("{") > MAX_DEPTH and (deep := _depth(data)) > MAX_DEPTH:
        raise MalformedError(f"{what} is nested too deeply", expected=f"at most {MAX_DEPTH} levels", got=deep)
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except MalformedError as error:
        raise MalformedError(f"{what}: {error.what}", expected=error.expected, got=error.got) from None
    except UnicodeEncodeError:
        raise MalformedError(f"{what} holds half a character", expected="paired surrogates", got="one alone") from None
    except ValueError as error:
        raise MalformedError(f"{what} is not JSON", expected="JSON (RFC 8259)", got=str(error)) from None
    return value
