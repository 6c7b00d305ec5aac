"""``silvermetal verify``: a verdict, its statements, its ledger entry and the ISO, checked together.

The folder is what `silvermetal-master wait --copy-to` and a release hold: ``verdict.dsse.json``, ``statements/``,
``ledger/``, ``pins.json`` and ``packages.lock``, copies of the keys, and any ISO below it.

Rules:

- Nothing in the folder is believed: keys come from ``--keys`` (a folder of host entries) and ``--master-key``.
- The verdict is the master's, by its signature; that the statements say what it says of them is checked here again, and
  a verdict of REPRODUCED that they contradict is refused, whoever signed it.
- An entry of the ledger counts only below its signed checkpoint.
- I3 and I4 rest on operators' signatures: asked for, they are decided again with the caller's keys of the operators.
- A file that the verdict names by digest, directly or by its pins, is checked against it; a copy of a key must be the
  caller's own; every other file is accounted for (:mod:`.accounted`).
- Whatever fails is named by its file and has a code of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from silvermetal_proof.cli.accounted import account
from silvermetal_proof.cli.ends import CODES, End, Refused, end_of, finish, read, refuse
from silvermetal_proof.cli.ledger_folder import check_entry, entry_file
from silvermetal_proof.cli.progress import Watch, silent, watching
from silvermetal_proof.digest import digests_of, sha256
from silvermetal_proof.errors import ProofError, printable
from silvermetal_proof.host import HostEntry, Level, Operator
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.order import MAX_ORDER_BYTES
from silvermetal_proof.pins import Pins
from silvermetal_proof.pins.lock import MAX_LOCK_BYTES
from silvermetal_proof.statement import PublicKey, Statement
from silvermetal_proof.statement import verify as verify_envelope
from silvermetal_proof.statement.dsse import MAX_ENVELOPE_BYTES
from silvermetal_proof.verdict import Outcome, Verdict, render, verify_verdict
from silvermetal_proof.verdict.again import CONFIRMED, contradiction

MAX_HOST_FILE = 65536


@dataclass(frozen=True)
class Asked:
    """What the caller asks for beyond the verdict's own policy."""

    threshold: int
    min_independence: int
    operators: tuple[Operator, ...] = ()

    @property
    def confirmed(self) -> Level:
        """The level up to which the verdict's claim is decided again."""
        return Level(max(CONFIRMED, self.min_independence)) if self.operators else CONFIRMED


@dataclass(frozen=True)
class Checked:
    """A folder that holds: its verdict, its images, and the files that are whole and proven by nobody."""

    verdict: Verdict
    isos: int
    unproven: tuple[str, ...]


def operators_of(given: Sequence[str]) -> tuple[Operator, ...]:
    """``NAME=KEY`` each. :raises Refused: for what is none."""
    found = []
    for text in given:
        name, _, key = text.partition("=")
        try:
            found.append(Operator.from_plain({"operator": name, "public_key": key}, what=text))
        except ProofError as error:
            raise Refused(End.USAGE, "--operator", f"expected NAME=64 hex digits: {error}") from None
    return tuple(found)


def read_hosts(folder: Path) -> dict[str, HostEntry]:
    entries: dict[str, HostEntry] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            entry = HostEntry.from_plain(tomllib.loads(read(path, MAX_HOST_FILE).decode()), what=str(path))
        except ProofError as error:
            raise Refused(End.UNREADABLE, path, str(error)) from None
        except ValueError as error:
            raise Refused(End.UNREADABLE, path, f"expected TOML, got: {printable(str(error), 400)}") from None
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


def check_inputs(folder: Path, verdict: Verdict) -> tuple[Path, ...]:
    """``pins.json`` against the verdict, ``packages.lock`` against the pins; return those that the folder may hold."""
    path = folder / "pins.json"
    if not path.exists():
        return ()
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
    return path, lock


def _check_copies(folder: Path, keys: Path, public: PublicKey) -> tuple[set[Path], set[Path]]:
    """Copies of keys in the folder: believed by nobody, but a reader may take them for the real ones.

    Return those that are the caller's equal, and those that are the caller's own files.
    """
    equal: set[Path] = set()
    own: set[Path] = set()
    for path in sorted(folder.glob("*.toml")):
        mine = keys / path.name
        if not mine.exists() or read(mine, MAX_HOST_FILE) != read(path, MAX_HOST_FILE):
            raise Refused(End.SIGNATURE, path, f"expected the entry that {keys} has, got another one")
        (own if mine.samefile(path) else equal).add(path)
    master = folder / "master.pub"
    if master.exists():
        if read(master, MAX_HOST_FILE) != f"{public.hex}\n".encode():
            raise Refused(End.SIGNATURE, master, f"expected the master's key {public.hex}, got another one")
        equal.add(master)
    return equal, own


def _isos(folder: Path) -> list[Path]:
    """Every image in the folder, however its name is spelt."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".iso")


def check_image(path: Path, verdict: Verdict, statements: dict[str, Statement], watch: Watch = silent) -> None:
    """The bytes against the verdict's digest and against every worker's nonce-keyed digest, in one pass."""
    try:
        with path.open("rb") as stream:
            found, keyed = digests_of(stream, [s.predicate.nonce for s in statements.values()], watch(path))
    except OSError as error:
        raise Refused(End.UNREADABLE, path, f"expected a readable ISO, got {error.strerror}") from None
    if found != f"sha256:{verdict.iso_sha256}":
        raise Refused(End.ISO, path, f"expected sha256:{verdict.iso_sha256}, got {found}")
    for (host, statement), digest in zip(statements.items(), keyed, strict=True):
        if digest != f"sha256:{statement.predicate.keyed_digest}":
            raise Refused(End.ISO, path, f"{host} did not have these bytes: its keyed digest is another one")


def check_asked(where: Path, verdict: Verdict, statements: int, asked: Asked) -> None:
    """What the caller asks for beyond the verdict. :raises Refused: when the verdict has less."""
    if statements < asked.threshold:
        raise Refused(End.POLICY, where, f"expected at least {asked.threshold} statements, got {statements}")
    if verdict.level < asked.min_independence:
        raise Refused(End.POLICY, where, f"expected independence I{asked.min_independence}, got I{verdict.level}")
    if asked.min_independence > asked.confirmed:
        raise Refused(
            End.POLICY,
            where,
            f"expected --operator NAME=KEY of those who vouch for the hosts, got none: without their keys "
            f"I{asked.min_independence} is the master's word alone",
        )


def check_folder(
    folder: Path, *, keys: Path, master_key: str, origin: str, asked: Asked, watch: Watch = silent
) -> Checked:
    """Check everything in ``folder``. :raises Refused: naming the file and the reason."""
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
    book = Ledger(folder / "ledger", origin, public)
    entries = check_entry(book, envelope)
    inputs = check_inputs(folder, verdict)
    copies, own = _check_copies(folder / "keys", keys, public)
    where = folder / "verdict.dsse.json"
    if verdict.outcome is not Outcome.REPRODUCED:
        raise Refused(End.OTHER_VERDICT, where, f"verdict is {verdict.outcome}: {verdict.summary}")
    agreeing = {s.iso_sha256 for s in statements.values()}
    if agreeing != {verdict.iso_sha256}:
        raise Refused(End.STATEMENTS, folder / "statements", f"expected one digest, got {len(agreeing)}")
    why = contradiction(verdict, signed, tuple(hosts.values()), asked.operators, asked.confirmed)
    if why is not None:
        raise Refused(End.STATEMENTS, where, why)
    check_asked(folder, verdict, len(statements), asked)
    isos = _isos(folder)
    proven: dict[Path, str | None] = dict.fromkeys((where, *present.values(), *copies, *inputs))
    proven |= dict.fromkeys((book.path / "checkpoint", *(entry_file(book, index) for index in range(entries))))
    proven |= dict.fromkeys(isos, f"sha256:{verdict.iso_sha256}")
    unproven = account(folder, proven, own, statements, watch)
    # Last, because it takes longest.
    for iso in isos:
        check_image(iso, verdict, statements, watch)
    return Checked(verdict, len(isos), tuple(unproven))


@click.command("verify", epilog=CODES)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), required=True, help="Folder of host entries (*.toml).")
@click.option("--master-key", required=True, help="The master's public key, 64 hex digits.")
@click.option("--origin", required=True, help="The ledger's name.")
@click.option("--threshold", default=2, show_default=True, help="Statements that must agree.")
@click.option("--min-independence", default=1, show_default=True, type=click.IntRange(0, 4))
@click.option(
    "--operator", multiple=True, metavar="NAME=KEY", help="Who vouches for hosts, by key; I3 and I4 rest on them."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(
    folder: Path,
    keys: Path,
    master_key: str,
    origin: str,
    threshold: int,
    min_independence: int,
    operator: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check the verdict, statements, ledger and ISO in FOLDER, and account for every other file."""
    try:
        asked = Asked(threshold, min_independence, operators_of(operator))
        with watching(as_json=as_json) as watch:
            found = check_folder(folder, keys=keys, master_key=master_key, origin=origin, asked=asked, watch=watch)
    except Refused as refused:
        refuse(refused, as_json=as_json)
    except OSError as error:
        why = f"expected a readable file, got {error.strerror}"
        refuse(Refused(End.UNREADABLE, error.filename or folder, why), as_json=as_json)
    verdict = found.verdict
    result = {"ok": True, "outcome": str(verdict.outcome), "iso_sha256": verdict.iso_sha256, "level": verdict.level}
    result |= {"isos": found.isos, "unproven": list(found.unproven)}
    seen = "" if found.isos else "; there is no ISO in it, so no image's bytes were looked at"
    if found.unproven:
        shown = ", ".join(found.unproven[:3]) + (" …" if len(found.unproven) > 3 else "")
        seen += f"; nobody signed {len(found.unproven)} files ({shown}), which are as SHA256SUMS says"
    finish(result, as_json=as_json, text=f"{render(verdict)}everything in the folder holds{seen}")
