"""``silvermetal keygen``: an Ed25519 key pair in two files.

Rules:

- The private key's file is readable by its owner alone and never overwritten.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from silvermetal_proof.cli.ends import CODES, End, Refused, refuse
from silvermetal_proof.statement import SigningKey


@click.command(epilog=CODES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def keygen(file: Path, as_json: bool) -> None:
    """Make a signing key: the private half in FILE, the public half in FILE.pub."""
    key = SigningKey.generate()
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(key.pem)
        file.with_name(f"{file.name}.pub").write_text(f"{key.public.hex}\n", encoding="ascii")
    except OSError as error:
        refuse(Refused(End.UNREADABLE, file, f"expected a new file, got {error.strerror}"), as_json=as_json)
    if as_json:
        click.echo(json.dumps({"public": key.public.hex, "keyid": key.public.keyid}, sort_keys=True))
    else:
        click.echo(f"public key {key.public.hex}\nkey id     {key.public.keyid}")
