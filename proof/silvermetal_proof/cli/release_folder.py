"""A release's files in one folder, checked together: what `silvermetal verify-release` does once it has them.

Rules:

- Nothing in the folder is believed: the master's key, the hosts' keys and the ledger's name come from the caller.
- ``SHA256SUMS`` must be the master's by both of its signatures before any name in it is looked at; a file that it does
  not name, or that is missing or another one, is refused by name.
- The verdict is REPRODUCED, its statements are all there and, decided again, say the same.
- The ledger's checkpoint must go with every one that was seen of this ledger before (:mod:`.seen`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.cli.accounted import digest_in
from silvermetal_proof.cli.ends import End, Refused, read
from silvermetal_proof.cli.progress import Watch, silent
from silvermetal_proof.cli.seen import Seen
from silvermetal_proof.cli.verify import (
    Asked,
    check_asked,
    check_image,
    check_inputs,
    read_hosts,
    read_statement,
    read_verdict,
)
from silvermetal_proof.errors import ProofError
from silvermetal_proof.host import HostEntry
from silvermetal_proof.ledger import leaf_hash
from silvermetal_proof.release import (
    LEDGER_PROOF,
    MINISIG,
    SSHSIG,
    SUMS,
    VERDICT,
    LedgerProof,
    host_of,
    iso_name,
    minisign,
    parse_sums,
    required_assets,
    sshsig,
    statement_asset,
)
from silvermetal_proof.release.entry import MAX_PROOF_BYTES
from silvermetal_proof.release.sums import MAX_SUMS_BYTES
from silvermetal_proof.statement import PublicKey, Statement
from silvermetal_proof.verdict import Outcome, Verdict
from silvermetal_proof.verdict.again import contradiction

_UNNAMED = (SUMS, MINISIG, SSHSIG)


@dataclass(frozen=True)
class Trusted:
    """What the caller has from elsewhere."""

    master: PublicKey
    origin: str
    hosts: dict[str, HostEntry]

    @classmethod
    def of(cls, master_key: str, origin: str, keys: Path) -> Trusted:
        """Read the caller's keys. :raises Refused: when one is none."""
        try:
            return cls(PublicKey(master_key), origin, read_hosts(keys))
        except ProofError as error:
            raise Refused(End.USAGE, "--master-key", str(error)) from None


def signed_sums(folder: Path, master: PublicKey) -> dict[str, str]:
    """Names and digests of a release, by both signatures the master's. :raises Refused: when they are not."""
    data = read(folder / SUMS, MAX_SUMS_BYTES)
    for name, module in ((MINISIG, minisign), (SSHSIG, sshsig)):
        signature = read(folder / name, 16384)
        try:
            module.verify(data, signature, master)
        except ProofError as error:
            raise Refused(End.SIGNATURE, folder / name, f"does not sign this {SUMS}: {error}") from None
    try:
        return parse_sums(data)
    except ProofError as error:
        raise Refused(End.UNREADABLE, folder / SUMS, str(error)) from None


def kind_of(name: str) -> End:
    """The code for a file that is another one than ``SHA256SUMS`` says."""
    if name.lower().endswith(".iso"):
        return End.ISO
    return End.STATEMENTS if host_of(name) else End.SUMS


def _check_files(folder: Path, sums: dict[str, str], watch: Watch) -> None:
    for name, expected in sums.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise Refused(kind_of(name), path, f"expected it, for {SUMS} names it, got no file")
        found = digest_in(path, watch(path))
        if found != expected:
            raise Refused(kind_of(name), path, f"expected {expected}, got {found}")
    for path in sorted(folder.iterdir()):
        if path.name not in sums and path.name not in _UNNAMED:
            raise Refused(End.SUMS, path, f"expected only files that {SUMS} names, got another one; move it away")


def _statements(folder: Path, verdict: Verdict, trusted: Trusted) -> dict[str, tuple[Statement, bytes]]:
    found = {}
    for result in verdict.hosts:
        if result.valid:
            path = folder / statement_asset(result.host)
            if not path.exists():
                raise Refused(End.STATEMENTS, path, "expected it, for the verdict counts it, got no file")
            found[result.host] = read_statement(path, result.host, verdict, trusted.hosts.get(result.host))
    return found


def _check_verdict(
    path: Path, verdict: Verdict, signed: dict[str, tuple[Statement, bytes]], trusted: Trusted, asked: Asked
) -> None:
    if verdict.outcome is not Outcome.REPRODUCED:
        raise Refused(End.OTHER_VERDICT, path, f"verdict is {verdict.outcome}: {verdict.summary}")
    why = contradiction(verdict, signed, tuple(trusted.hosts.values()), asked.operators, asked.confirmed)
    if why is not None:
        raise Refused(End.STATEMENTS, path, why)
    check_asked(path, verdict, len(signed), asked)


def check_release(
    folder: Path,
    *,
    trusted: Trusted,
    asked: Asked,
    state: Path | None = None,
    ledger: Path | None = None,
    watch: Watch = silent,
) -> Verdict:
    """Check everything; remember the checkpoint in ``state`` when all holds. :raises Refused: naming file and reason.

    ``ledger`` is a copy of the whole ledger, by which two checkpoints of different sizes can be compared.
    """
    sums = signed_sums(folder, trusted.master)
    _check_files(folder, sums, watch)
    verdict, envelope = read_verdict(folder, trusted.master)
    try:
        missing = sorted(required_assets(verdict) - sums.keys() - set(_UNNAMED))
        iso = folder / iso_name(verdict)
    except ProofError as error:
        raise Refused(End.UNREADABLE, folder / VERDICT, str(error)) from None
    if missing:
        raise Refused(kind_of(missing[0]), folder / missing[0], f"expected it in {SUMS}, got no such line")
    signed = _statements(folder, verdict, trusted)
    _check_verdict(folder / VERDICT, verdict, signed, trusted, asked)
    check_inputs(folder, verdict)
    path = folder / LEDGER_PROOF
    seen = Seen(state, trusted.origin, trusted.master)
    try:
        proof = LedgerProof.read(read(path, MAX_PROOF_BYTES))
        checkpoint = proof.check(envelope, trusted.origin, trusted.master)
        entry = seen.entry(checkpoint, proof.index, leaf_hash(envelope), verdict.decided)
        seen.check(entry, ledger)
    except ProofError as error:
        raise Refused(End.LEDGER, path, str(error)) from None
    check_image(iso, verdict, {host: statement for host, (statement, _) in signed.items()}, watch)
    seen.remember(entry)
    return verdict
