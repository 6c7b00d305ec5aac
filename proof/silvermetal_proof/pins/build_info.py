"""``BUILD_INFO``: the human's copy of the pins and of the values that took effect, written by the build.

Rules:

- ``KEY=value`` a line, the value to the end of the line as it is (no quoting, no shell), keys sorted and once each.
"""

from __future__ import annotations

import re

from silvermetal_proof.errors import MalformedError

MAX_BUILD_INFO_BYTES = 256 * 1024
_LINE = re.compile(r"\A(?P<key>[A-Z][A-Z0-9_]{0,63})=(?P<value>[^\x00-\x1f\x7f]*)\Z")


def parse_build_info(data: bytes, name: str = "BUILD_INFO") -> dict[str, str]:
    """Read a ``BUILD_INFO``. :raises MalformedError: with file and line, expected and got."""
    if len(data) > MAX_BUILD_INFO_BYTES:
        raise MalformedError(f"{name} is too large", expected=f"at most {MAX_BUILD_INFO_BYTES} bytes", got=len(data))
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise MalformedError(f"{name} is not UTF-8", expected="UTF-8 text", got="other bytes") from None
    if lines.pop() != "":
        raise MalformedError(f"{name} is torn", expected="a newline at the end", got="none")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.match(line)
        if match is None:
            raise MalformedError(f"{name}:{number}", expected="KEY=value", got=line)
        if found and match["key"] <= next(reversed(found)):
            raise MalformedError(
                f"{name}:{number}", expected=f"sorted keys, once each, after {next(reversed(found))}", got=match["key"]
            )
        found[match["key"]] = match["value"]
    return found
