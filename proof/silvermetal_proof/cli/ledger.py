"""``silvermetal ledger``: check a ledger, and prove that an entry is in it.

Rules:

- ``check`` proves every entry against the signed checkpoint, and with ``--since`` that an older checkpoint is a prefix.
"""

from __future__ import annotations

from pathlib import Path

import click

from silvermetal_proof.cli.ends import CODES, End, Refused, finish, read, refuse
from silvermetal_proof.cli.ledger_folder import check_whole
from silvermetal_proof.errors import LedgerError, ProofError
from silvermetal_proof.ledger import Ledger, read_checkpoint, root_hash
from silvermetal_proof.ledger.checkpoint import MAX_CHECKPOINT_BYTES
from silvermetal_proof.statement import PublicKey


@click.group("ledger")
def ledger() -> None:
    """The append-only log of verdicts."""


@ledger.command("check", epilog=CODES)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--origin", required=True, help="The log's name.")
@click.option("--key", required=True, help="The master's public key, 64 hex digits.")
@click.option("--since", type=click.Path(path_type=Path), default=None, help="A checkpoint seen before.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(folder: Path, origin: str, key: str, since: Path | None, as_json: bool) -> None:
    """Check that FOLDER holds the whole, unaltered log."""
    try:
        public = PublicKey(key)
        book = Ledger(folder, origin, public)
        _, leaves = check_whole(book)
        if since is not None:
            old = read_checkpoint(read(since, MAX_CHECKPOINT_BYTES), origin, public)
            if old.size > len(leaves) or root_hash(leaves[: old.size]) != old.root:
                raise LedgerError(
                    "the log was rewound or forked", expected=f"the {old.size} entries of {since}", got="others"
                )
    except Refused as refused:
        refuse(refused, as_json=as_json)
    except ProofError as error:
        refuse(Refused(End.LEDGER, folder, str(error)), as_json=as_json)
    result = {"ok": True, "entries": len(leaves), "root": root_hash(leaves).hex()}
    finish(result, as_json=as_json, text=f"{folder}: {len(leaves)} entries, whole and unaltered")
