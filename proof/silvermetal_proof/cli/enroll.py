"""``silvermetal enroll``: an operator vouches for a host: key, worker, site and hardware, signed as one entry.

Rules:

- Works where the operator is, without the master: reads an entry, writes it anew with the signature, keeps the rest.
- What is signed is shown; a wrong key for a known operator is refused by whoever reads it, not here.
- The file is replaced whole or not at all.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import click

from silvermetal_proof.cli.ends import CODES, End, Refused, end_of, finish, read, refuse
from silvermetal_proof.errors import ProofError, printable
from silvermetal_proof.host import HostEntry, sign_entry
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.statement import SigningKey

MAX_ENTRY_BYTES = 65536
MAX_KEY_BYTES = 8192


def read_entry(path: Path) -> HostEntry:
    """The entry of one host. :raises Refused: when the file is none."""
    try:
        return HostEntry.from_plain(tomllib.loads(read(path, MAX_ENTRY_BYTES).decode()), what=str(path))
    except ProofError as error:
        raise Refused(End.UNREADABLE, path, str(error)) from None
    except ValueError as error:
        raise Refused(End.UNREADABLE, path, f"expected TOML, got: {printable(str(error), 400)}") from None


def entry_text(entry: HostEntry) -> str:
    """The entry as TOML; every value is a string, and JSON's escapes of a string are TOML's."""
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in entry.plain().items()
        if value is not None
    )


def _signed(file: Path, key: Path, changes: dict[str, str]) -> HostEntry:
    entry = read_entry(file)
    try:
        signer = SigningKey.from_pem(read(key, MAX_KEY_BYTES))
        changed = HostEntry.from_plain({**entry.plain(), **changes}, what=str(file))
        return sign_entry(changed, signer)
    except ProofError as error:
        raise Refused(end_of(error), key, str(error)) from None


@click.command(epilog=CODES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, help="The operator's key, of `silvermetal keygen`."
)
@click.option("--operator", default=None, help="Who vouches; default: the operator that the entry names.")
@click.option("--site", default=None, help="Where the machine stands; default: the site that the entry names.")
@click.option("--dmi", default=None, help="Hardware identity, as `silvermetal inspect` shows it; 64 hex digits.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def enroll(file: Path, key: Path, operator: str | None, site: str | None, dmi: str | None, as_json: bool) -> None:
    """Sign the host entry FILE (config/hosts/<host>.toml) as its operator."""
    asked = {"operator": operator, "site": site, "dmi": dmi}
    try:
        entry = _signed(file, key, {k: v for k, v in asked.items() if v is not None})
        write_durably(file, entry_text(entry).encode(), replace=True)
    except OSError as error:
        refuse(Refused(End.UNREADABLE, file, f"expected a file to write, got {error.strerror}"), as_json=as_json)
    except Refused as refused:
        refuse(refused, as_json=as_json)
    result: dict[str, Any] = {"ok": True, **entry.plain()}
    text = f"{file}: host {entry.host}, worker {entry.worker}, key {entry.public_key}\n"
    text += f"signed by operator {entry.operator}, site {entry.site}, hardware {entry.dmi or 'not named: I2 at most'}"
    finish(result, as_json=as_json, text=text)
