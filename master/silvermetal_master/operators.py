"""Operators who may start and stop builds by the web: a file of names and scrypt hashes (RFC 7914).

Rules:

- Without the file nobody may: reading is open, control is not.
- Only hashes are kept; a check takes the same time for a name that does not exist.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path

from buildbot.www.auth import CustomAuth

from silvermetal_master.errors import SettingsError

OPERATORS = "operators"
_LINE = re.compile(r"\A(?P<name>[a-z0-9][a-z0-9._-]{0,63}):(?P<salt>[0-9a-f]{32}):(?P<hash>[0-9a-f]{64})\Z")
MIN_PASSWORD = 12


def _scrypt(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=2**14, r=8, p=1, dklen=32)


def read_operators(path: Path) -> dict[str, tuple[bytes, bytes]]:
    """Name to salt and hash. :raises SettingsError: at a line of another form."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _LINE.match(line)
        if match is None:
            raise SettingsError(f"{path}:{number}: expected <name>:<salt>:<hash>, got another form")
        found[match["name"]] = (bytes.fromhex(match["salt"]), bytes.fromhex(match["hash"]))
    return found


def add_operator(path: Path, name: str, password: str) -> None:
    """Add an operator or change the password. :raises SettingsError: when name or password is not acceptable."""
    salt = os.urandom(16)
    line = f"{name}:{salt.hex()}:{_scrypt(password.encode(), salt).hex()}"
    if not _LINE.match(line):
        raise SettingsError(
            f"operator: expected a name of lower-case letters, digits, dots and dashes, got {name[:80]!r}"
        )
    if len(password) < MIN_PASSWORD:
        raise SettingsError(f"operator {name}: expected a password of at least {MIN_PASSWORD} characters, got fewer")
    others = []
    if path.exists():
        others = [known for known in path.read_text(encoding="utf-8").splitlines() if not known.startswith(f"{name}:")]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write("\n".join([*others, line]) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


class OperatorAuth(CustomAuth):
    """HTTP basic authentication against the file."""

    def __init__(self, operators: dict[str, tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._operators = operators

    def check_credentials(self, username: bytes, password: bytes) -> bool:
        """Whether this is an operator."""
        nobody = (b"\0" * 16, b"\0" * 32)
        salt, expected = self._operators.get(username.decode("utf-8", "replace"), nobody)
        return hmac.compare_digest(_scrypt(password, salt), expected)
