"""``silvermetal inspect``: what a statement or a verdict says, for people. Signatures are not checked here.

Rules:

- Says so: an inspected file is only *claimed* to be what it says; `silvermetal verify` checks.
- A payload that is neither is shown as it stands; ``--json`` always shows it as it stands.
"""

from __future__ import annotations

from pathlib import Path

import click

from silvermetal_proof import canonical
from silvermetal_proof.cli.ends import CODES, Refused, end_of, read, refuse
from silvermetal_proof.errors import MalformedError, ProofError, printable
from silvermetal_proof.statement import MAX_STATEMENT_BYTES, Statement
from silvermetal_proof.statement.dsse import MAX_ENVELOPE_BYTES, parse, payload_of
from silvermetal_proof.statement.render import evidence_lines
from silvermetal_proof.statement.render import render as render_statement
from silvermetal_proof.verdict import Verdict, render
from silvermetal_proof.verdict.vsa import read_summary


def _verdict_text(verdict: Verdict) -> str:
    lines = [render(verdict).rstrip("\n")]
    for host in verdict.hosts:
        if host.evidence is not None:
            lines += [f"  the machine of {host.host}, by its own word", *evidence_lines(host.evidence)]
    # Anyone may have written the file: what a terminal obeys stays out, whatever a line says.
    return "".join(f"{printable(line, 4096)}\n" for line in "\n".join(lines).split("\n"))


def _text(payload: bytes, plain: object) -> str:
    """For people; the JSON itself where it is neither statement nor verdict."""
    try:
        return render_statement(Statement.read(payload))
    except MalformedError:
        pass
    try:
        return _verdict_text(read_summary(payload))
    except MalformedError:
        return canonical.pretty(plain).decode()


@click.command("inspect", epilog=CODES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Only the payload, as JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Show what is in FILE, a statement's or verdict's envelope: what was built, from what, on which machine."""
    try:
        envelope = parse(read(file, MAX_ENVELOPE_BYTES), str(file))
        payload = payload_of(envelope, str(file))
        plain = canonical.decode(payload, limit=MAX_STATEMENT_BYTES, what=str(file))
    except Refused as refused:
        refuse(refused, as_json=as_json)
    except ProofError as error:
        refuse(Refused(end_of(error), file, str(error)), as_json=as_json)
    if as_json:
        click.echo(canonical.pretty(plain).decode(), nl=False)
        return
    click.echo(f"{file}: payload type {envelope.payload_type}, says it is signed by key {envelope.keyid}")
    click.echo("not verified here; `silvermetal verify` does")
    click.echo(_text(payload, plain), nl=False)
