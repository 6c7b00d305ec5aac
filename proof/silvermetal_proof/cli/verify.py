"""``silvermetal verify``: a verdict, its statements, its ledger entry and the ISO, checked together.

The folder is what `silvermetal-master wait --copy-to` and a release hold: ``verdict.dsse.json``, ``statements/``,
``ledger/``, ``pins.json`` and ``packages.lock``, copies of the keys, and any ISO below it.

Rules:

- Nothing in the folder is believed: keys come from ``--keys`` (a folder of host entries) and ``--master-key``.
- The verdict is the master's, by its signature; that the statements say what it says of them is checked here again, and
  a verdict of REPRODUCED that they contradict is refused, whoever signed it.
- An entry of the ledger counts only below its signed checkpoint.
- A file that the verdict names by digest, directly or by its pins, is checked against it; a copy of a key must be the
  caller's own.
- Whatever fails is named by its file and has a code of its own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import click

from silvermetal_proof.cli.ends import End, Refused, end_of, finish, read, refuse
from silvermetal_proof.digest import measure, sha256
from silvermetal_proof.errors import ProofError, printable
from silvermetal_proof.host import HostEntry
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.order import MAX_ORDER_BYTES
from silvermetal_proof.pins import Pins
from silvermetal_proof.pins.lock import MAX_LOCK_BYTES
from silvermetal_proof.statement import PublicKey, Statement
from silvermetal_proof.statement import verify as verify_envelope
from silvermetal_proof.statement.dsse import MAX_ENVELOPE_BYTES
from silvermetal_proof.verdict import Outcome, Verdict, render, verify_verdict
from silvermetal_proof.verdict.again import contradiction

MAX_HOST_FILE = 65536


@dataclass(frozen=True)
class Asked:
    """What the caller asks for beyond the verdict's own policy."""

    threshold: int
    min_independence: int


def read_hosts(folder: Path) -> dict[str, HostEntry]:
    entries: dict[str, HostEntry] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            values = tomllib.loads(read(path, MAX_HOST_FILE).decode())
            entry = HostEntry.from_plain(values, what=str(path))
        except (ProofError, ValueError) as error:
            raise Refused(End.UNREADABLE, path, printable(str(error), 400)) from None
        if entry.host in entries:
            raise Refused(End.UNREADABLE, path, f"expected one entry a host, got another of {entry.host}")
        entries[entry.host] = entry
    if not entries:
        raise Refused(End.UNREADABLE, folder, "expected host entries (*.toml), got none")
    return entries


def read_verdict(folder: Path, key: PublicKey) -> tuple[Verdict, bytes]:
    path = folder / "verdict.dsse.json"
    envelope = read(path, MAX_ENVELOPE_BYTES)
    try:
        return verify_verdict(envelope, key).verdict, envelope
    except ProofError as error:
        raise Refused(end_of(error), path, str(error)) from None


def read_statement(path: Path, host: str, verdict: Verdict, entry: HostEntry | None) -> tuple[Statement, bytes]:
    """One statement, checked against its host's key and the verdict's words about it."""
    result = next((h for h in verdict.hosts if h.host == host), None)
    if result is None:
        raise Refused(End.STATEMENTS, path, f"expected a host of the verdict, got {host}")
    envelope = read(path, MAX_ENVELOPE_BYTES)
    if sha256(envelope) != result.statement:
        raise Refused(End.STATEMENTS, path, f"expected the statement {result.statement}, got {sha256(envelope)}")
    if entry is None:
        raise Refused(End.SIGNATURE, path, f"expected a key for host {host} in the key set, got none")
    try:
        entry.check_valid_at(verdict.decided)
        statement = Statement.read(verify_envelope(envelope, entry.key, what=str(path)))
    except ProofError as error:
        raise Refused(end_of(error), path, str(error)) from None
    for name, expected, got in (
        ("build", verdict.build, statement.predicate.run_details.metadata.invocation_id),
        ("commit", verdict.commit, statement.external.commit),
        ("ref", verdict.ref, statement.external.ref),
        ("pins", verdict.pins, statement.internal.pins),
        ("host", host, statement.predicate.host),
        ("worker", entry.worker, statement.worker),
        ("ISO digest", result.iso_sha256, statement.iso_sha256),
    ):
        if expected != got:
            raise Refused(End.STATEMENTS, path, f"{name}: expected {expected}, got {got}")
    return statement, envelope


def _check_ledger(folder: Path, origin: str, key: PublicKey, envelope: bytes) -> int:
    try:
        book = Ledger(folder, origin, key)
        book.check()
        checkpoint = book.checkpoint()
        # What lies beyond the signed checkpoint is there by nobody's word.
        for index in range(checkpoint.size if checkpoint is not None else 0):
            if book.entry(index) == envelope:
                return index
    except ProofError as error:
        raise Refused(End.LEDGER, folder, str(error)) from None
    raise Refused(End.LEDGER, folder, "expected the verdict among the entries, got none that is equal")


def check_inputs(folder: Path, verdict: Verdict) -> None:
    """``pins.json`` against the verdict, ``packages.lock`` against the pins, where the folder holds them."""
    path = folder / "pins.json"
    if not path.exists():
        return
    data = read(path, MAX_ORDER_BYTES)
    if sha256(data) != verdict.pins:
        raise Refused(End.STATEMENTS, path, f"expected the pins {verdict.pins}, got {sha256(data)}")
    lock = folder / "packages.lock"
    if lock.exists():
        try:
            expected = Pins.parse(data, limit=MAX_ORDER_BYTES, what=str(path)).lock
        except ProofError as error:
            raise Refused(End.UNREADABLE, path, str(error)) from None
        found = sha256(read(lock, MAX_LOCK_BYTES))
        if found != expected:
            raise Refused(End.STATEMENTS, lock, f"expected the package lock {expected}, got {found}")


def _check_copies(folder: Path, keys: Path, public: PublicKey) -> None:
    """Copies of keys in the folder: believed by nobody, but a reader may take them for the real ones."""
    for path in sorted(folder.glob("*.toml")):
        own = keys / path.name
        if not own.exists() or read(own, MAX_HOST_FILE) != read(path, MAX_HOST_FILE):
            raise Refused(End.SIGNATURE, path, f"expected the entry that {keys} has, got another one")
    master = folder / "master.pub"
    if master.exists() and read(master, MAX_HOST_FILE) != f"{public.hex}\n".encode():
        raise Refused(End.SIGNATURE, master, f"expected the master's key {public.hex}, got another one")


def _isos(folder: Path) -> list[Path]:
    """Every image in the folder, however its name is spelt."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".iso")


def check_image(path: Path, verdict: Verdict, statements: dict[str, Statement]) -> None:
    """The bytes against the verdict's digest and against every worker's nonce-keyed digest."""
    for host, statement in statements.items():
        try:
            with path.open("rb") as stream:
                measured = measure(stream, statement.predicate.nonce)
        except OSError as error:
            raise Refused(End.UNREADABLE, path, f"expected a readable ISO, got {error.strerror}") from None
        if measured.sha256 != f"sha256:{verdict.iso_sha256}":
            raise Refused(End.ISO, path, f"expected sha256:{verdict.iso_sha256}, got {measured.sha256}")
        if measured.keyed != f"sha256:{statement.predicate.keyed_digest}":
            raise Refused(End.ISO, path, f"{host} did not have these bytes: its keyed digest is another one")


def check_folder(folder: Path, *, keys: Path, master_key: str, origin: str, asked: Asked) -> Verdict:
    """Check everything in ``folder``; return the verdict. :raises Refused: naming the file and the reason."""
    try:
        public = PublicKey(master_key)
    except ProofError as error:
        raise Refused(End.USAGE, "--master-key", str(error)) from None
    verdict, envelope = read_verdict(folder, public)
    hosts = read_hosts(keys)
    present = {p.stem: p for p in sorted((folder / "statements").glob("*.json"))}
    for result in verdict.hosts:
        if result.statement is not None and result.valid and result.host not in present:
            raise Refused(End.STATEMENTS, folder / "statements" / f"{result.host}.json", "expected it, got no file")
    invalid = {h.host for h in verdict.hosts if not h.valid}
    signed = {
        name: read_statement(path, name, verdict, hosts.get(name))
        for name, path in present.items()
        if name not in invalid
    }
    statements = {name: statement for name, (statement, _) in signed.items()}
    _check_ledger(folder / "ledger", origin, public, envelope)
    check_inputs(folder, verdict)
    _check_copies(folder / "keys", keys, public)
    if verdict.outcome is not Outcome.REPRODUCED:
        raise Refused(
            End.OTHER_VERDICT, folder / "verdict.dsse.json", f"verdict is {verdict.outcome}: {verdict.summary}"
        )
    agreeing = {s.iso_sha256 for s in statements.values()}
    if agreeing != {verdict.iso_sha256}:
        raise Refused(End.STATEMENTS, folder / "statements", f"expected one digest, got {len(agreeing)}")
    why = contradiction(verdict, signed, tuple(hosts.values()))
    if why is not None:
        raise Refused(End.STATEMENTS, folder / "verdict.dsse.json", why)
    if len(statements) < asked.threshold:
        raise Refused(End.POLICY, folder, f"expected at least {asked.threshold} statements, got {len(statements)}")
    if verdict.level < asked.min_independence:
        raise Refused(End.POLICY, folder, f"expected independence I{asked.min_independence}, got I{verdict.level}")
    for iso in _isos(folder):
        check_image(iso, verdict, statements)
    return verdict


@click.command("verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), required=True, help="Folder of host entries (*.toml).")
@click.option("--master-key", required=True, help="The master's public key, 64 hex digits.")
@click.option("--origin", required=True, help="The ledger's name.")
@click.option("--threshold", default=2, show_default=True, help="Statements that must agree.")
@click.option("--min-independence", default=1, show_default=True, type=click.IntRange(0, 4))
@click.option("--json", "as_json", is_flag=True)
def verify(
    folder: Path, keys: Path, master_key: str, origin: str, threshold: int, min_independence: int, as_json: bool
) -> None:
    """Check the verdict, statements, ledger and ISO in FOLDER."""
    try:
        verdict = check_folder(
            folder, keys=keys, master_key=master_key, origin=origin, asked=Asked(threshold, min_independence)
        )
    except Refused as refused:
        refuse(refused, as_json=as_json)
    result = {"ok": True, "outcome": str(verdict.outcome), "iso_sha256": verdict.iso_sha256, "level": verdict.level}
    isos = result["isos"] = len(_isos(folder))
    bytes_seen = "" if isos else "; there is no ISO in it, so no image's bytes were looked at"
    finish(result, as_json=as_json, text=f"{render(verdict)}everything in the folder holds{bytes_seen}")
