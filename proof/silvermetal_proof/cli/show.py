"""``silvermetal inspect``: what a statement or a verdict says, for people. Signatures are not checked here.

Rules:

- Says so: an inspected file is only *claimed* to be what it says; `silvermetal verify` checks.
"""

from __future__ import annotations

from pathlib import Path

import click

from silvermetal_proof import canonical
from silvermetal_proof.cli.ends import Refused, end_of, read
from silvermetal_proof.errors import ProofError
from silvermetal_proof.statement import MAX_STATEMENT_BYTES
from silvermetal_proof.statement.dsse import MAX_ENVELOPE_BYTES, parse, payload_of


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Only the payload, as JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Show what is in FILE, a statement's or verdict's envelope."""
    try:
        envelope = parse(read(file, MAX_ENVELOPE_BYTES), str(file))
        payload = canonical.decode(payload_of(envelope, str(file)), limit=MAX_STATEMENT_BYTES, what=str(file))
    except ProofError as error:
        raise Refused(end_of(error), file, str(error)) from None
    if not as_json:
        click.echo(f"{file}: payload type {envelope.payload_type}, says it is signed by key {envelope.keyid}")
        click.echo("not verified here; `silvermetal verify` does")
    click.echo(canonical.pretty(payload).decode(), nl=False)
