"""``SHA256SUMS``: what ``sha256sum -c`` reads.

Rules:

- One line a file, sorted by name: 64 hex digits, two spaces, the name. Names are plain: no separator, no space; of a
  folder's own list they may lie below it, and never elsewhere.
- Reading is strict: another form, or a name twice, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from silvermetal_proof.errors import MalformedError

_LINE = re.compile(r"\A([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+-]{0,200})\Z")
_BELOW = re.compile(r"\A([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._+@-]*(?:/[A-Za-z0-9_][A-Za-z0-9._+@-]*)*)\Z")
MAX_SUMS_BYTES = 65536


def format_sums(digests: Mapping[str, str], *, below: bool = False) -> bytes:
    """The file for these names and digests (``sha256:<64 hex>``). :raises MalformedError: for what cannot be read."""
    text = "".join(f"{digest.removeprefix('sha256:')}  {name}\n" for name, digest in sorted(digests.items()))
    parse_sums(text.encode(), below=below)
    return text.encode()


def parse_sums(data: bytes, *, below: bool = False) -> dict[str, str]:
    """Names and digests (``sha256:<64 hex>``); with ``below``, of files in folders too.

    :raises MalformedError: for another form.
    """
    if len(data) > MAX_SUMS_BYTES:
        raise MalformedError("SHA256SUMS is too large", expected=f"at most {MAX_SUMS_BYTES} bytes", got=len(data))
    found: dict[str, str] = {}
    lines = data.decode("utf-8", "replace").split("\n")
    if lines.pop() or not lines:
        raise MalformedError("SHA256SUMS", expected="lines that each end", got=lines[-1:] or "nothing")
    for number, line in enumerate(lines, 1):
        match = (_BELOW if below else _LINE).match(line)
        if match is None or match[2] in found:
            raise MalformedError(f"SHA256SUMS:{number}", expected="a digest, two spaces, a name of its own", got=line)
        found[match[2]] = f"sha256:{match[1]}"
    return found
