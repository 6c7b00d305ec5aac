"""``silvermetal inspect``: what a statement or a verdict says, for people. Signatures are not checked here.

Rules:

- A verdict is also shown in its own words: outcome, hosts, and who signed the tag.
- Says so: an inspected file is only *claimed* to be what it says; `silvermetal verify` checks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from silvermetal_proof import canonical
from silvermetal_proof.cli.ends import Refused, end_of, read
from silvermetal_proof.errors import ProofError, printable
from silvermetal_proof.statement import MAX_STATEMENT_BYTES
from silvermetal_proof.statement.dsse import MAX_ENVELOPE_BYTES, parse, payload_of
from silvermetal_proof.verdict import Verdict, render


def _of_a_verdict(payload: Any) -> list[str]:
    """A verdict's own words, its tag's signer among them; nothing for whatever is no verdict."""
    predicate = payload.get("predicate") if isinstance(payload, dict) else None
    inner = predicate.get("silvermetal_verdict") if isinstance(predicate, dict) else None
    if inner is None:
        return []
    try:
        text = render(Verdict.from_plain(inner, what="verdict"))
    except ProofError as error:
        return [f"its verdict cannot be read: {error}"]
    # Anyone may have written the file: what a terminal obeys stays out, whatever the line says.
    return [printable(line, 4096) for line in text.split("\n")[:-1]]


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
        for line in _of_a_verdict(payload):
            click.echo(line)
    click.echo(canonical.pretty(payload).decode(), nl=False)
