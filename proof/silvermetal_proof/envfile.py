"""One parser for the ``KEY=value`` files in ``config/``.

Rules:

- The accepted form is what both this parser and ``sh`` read alike: ``KEY=value``, ``KEY="value"``, ``KEY='value'``,
  comments and blank lines. Nothing that a shell would expand or act on (``$``, backquote, backslash; without quotes
  also ``; & | < > ( )`` and a leading ``~``) is accepted, and no control character.
- Each error names file and line, what was expected and what came. A key may stand only once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof.errors import MalformedError

MAX_ENV_BYTES = 256 * 1024
_LINE = re.compile(
    r"""\A(?P<key>[A-Z][A-Z0-9_]*)="""
    r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>(?!~|[^\s]*:~)[^\s"';&|<>()]*))[ \t]*\Z"""
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_EXPANDED_BY_SHELL = re.compile(r"[$`\\]")


@dataclass(frozen=True)
class Setting:
    """A value and where it stands, so that later errors can say so."""

    value: str
    where: str


def parse_env(data: bytes, name: str) -> dict[str, Setting]:
    """Read one file, called ``name`` in errors. :raises MalformedError: at the first line that is not accepted."""
    if len(data) > MAX_ENV_BYTES:
        raise MalformedError(f"{name} is too large", expected=f"at most {MAX_ENV_BYTES} bytes", got=len(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(f"{name} is not UTF-8", expected="UTF-8 text", got="other bytes") from None
    found: dict[str, Setting] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        where = f"{name}:{number}"
        match = _LINE.match(line)
        if match is None or _CONTROL.search(line):
            raise MalformedError(where, expected="KEY=value, quoted when it holds spaces", got=line)
        value = next(v for v in (match["double"], match["single"], match["bare"]) if v is not None)
        if _EXPANDED_BY_SHELL.search(value):
            raise MalformedError(f"{where}: {match['key']}", expected="a plain value (no $, ` or \\)", got=value)
        if match["key"] in found:
            raise MalformedError(
                f"{where}: {match['key']} stands twice", expected=f"once ({found[match['key']].where})", got=value
            )
        found[match["key"]] = Setting(value, where)
    return found


def only(settings: Mapping[str, Setting], known: frozenset[str], name: str) -> None:
    """:raises MalformedError: at the first key that is not known."""
    for key, setting in settings.items():
        if key not in known:
            raise MalformedError(
                f"{setting.where}: unknown key {key}", expected=f"one of {', '.join(sorted(known))} in {name}", got=key
            )
