"""What ``publish`` does with files and keys, on a thread: admit, claim, check the ISO, put the release together.

Rules:

- Nothing that came with the call is believed (H4): verdict, statements and today's policy are read and checked again.
- The first build of a ref that is admitted is the one that is released, for ever: a verification that ran twice (H7)
  leads to one release. Another commit or other bytes for a released ref are refused.
- Files of a release are written once and kept; a retry finds the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silvermetal_proof import ProofError, canonical
from silvermetal_proof import release as layout
from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.release import minisign, sshsig
from silvermetal_proof.release.admit import NotAdmittedError, Wanted, admit
from silvermetal_proof.release.how_to_check import how_to_check
from silvermetal_proof.statement import Statement
from silvermetal_proof.verdict import Verdict

from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.gitea.converge import Asset
from silvermetal_master.mirror import resolve_ref
from silvermetal_master.settings import Settings
from silvermetal_master.signing import master_key, open_ledger

INCOMING = "incoming.part"


@dataclass(frozen=True)
class Admitted:
    """A verdict that may be published, and where its release is put together."""

    record: BuildRecord
    verdict: Verdict
    statements: dict[str, Statement]

    @property
    def folder(self) -> Path:
        """The files of the release."""
        return self.record.file("release")

    @property
    def iso(self) -> Path:
        """Where the ISO lies once it was checked."""
        return self.folder / layout.iso_name(self.verdict)

    @property
    def size(self) -> int:
        """The ISO's size, by the verdict."""
        return next(h.size or 0 for h in self.verdict.hosts if h.valid)


def _admit(settings: Settings, record: BuildRecord, ref: str, commit: str) -> Admitted:
    wanted = Wanted(
        build=record.id,
        ref=ref,
        commit=commit,
        quorum=settings.policy.quorum,
        min_independence=settings.policy.min_independence,
    )
    try:
        envelope = record.file("verdict.dsse.json").read_bytes()
    except FileNotFoundError:
        raise NotAdmittedError(f"build {record.id}", expected="a signed verdict", got="none") from None
    statements = {path.stem: path.read_bytes() for path in record.file("statements").glob("*.json")}
    verdict, found = admit(envelope, statements, key=master_key(settings).public, hosts=settings.hosts, wanted=wanted)
    return Admitted(record, verdict, found)


def admitted(settings: Settings, store: BuildStore, record: BuildRecord, ref: str, commit: str) -> Admitted:
    """The build that is to be released for ``ref``. :raises ProofError: :raises PinningError: when there is none."""
    resolve_ref(settings.repository.url, ref, commit)
    this = _admit(settings, record, ref, commit)
    claim = store.path / "releases" / f"{hashlib.sha256(ref.encode()).hexdigest()}.json"
    claim.parent.mkdir(exist_ok=True)
    data = canonical.encode({"ref": ref, "build": record.id, "commit": commit, "iso_sha256": this.verdict.iso_sha256})
    try:
        write_durably(claim, data, replace=False)
    except FileExistsError:
        first = canonical.decode(claim.read_bytes(), limit=65536, what=str(claim))
        for name, got in (("commit", commit), ("iso_sha256", this.verdict.iso_sha256)):
            if first[name] != got:
                raise NotAdmittedError(f"{ref} was released before: {name}", expected=first[name], got=got) from None
        this = _admit(settings, store.record(first["build"]), ref, commit)
    this.folder.mkdir(exist_ok=True)
    return this


def order_to_check(path: Path, this: Admitted) -> dict[str, Any]:
    """What :mod:`.gitea.transfer` is to hash: the ISO, plain and with every worker's nonce, in one pass."""
    nonces = {host: statement.predicate.nonce for host, statement in this.statements.items()}
    return {"do": "check", "path": str(path), "nonces": nonces}


def check_digests(found: dict[str, Any], this: Admitted) -> None:
    """What was hashed against the verdict and every worker's nonce-keyed digest. :raises ProofError:"""
    if found["sha256"] != this.verdict.iso_sha256:
        raise MalformedError("delivered ISO", expected=this.verdict.iso_sha256, got=found["sha256"])
    for host, statement in this.statements.items():
        expected, got = statement.predicate.keyed_digest, found["keyed"][host]
        if got != expected:
            raise MalformedError(f"delivered ISO: keyed digest of {host}", expected=expected, got=got)


def _build_info(this: Admitted) -> bytes:
    """``BUILD_INFO`` as the first host signed it, checked against the digest in its statement."""
    statement = this.statements[sorted(this.statements)[0]]
    data = "".join(f"{k}={v}\n" for k, v in sorted(statement.internal.build_info.items())).encode()
    signed = {b.name: b.digest.sha256 for b in statement.predicate.run_details.byproducts}
    if sha256(data) != f"sha256:{signed.get('BUILD_INFO')}":
        raise MalformedError("BUILD_INFO", expected=signed.get("BUILD_INFO"), got=sha256(data))
    return data


def assemble(settings: Settings, state: Path, this: Admitted) -> dict[str, Asset]:
    """Write what is missing and return every asset. The ISO must lie there, checked. :raises ProofError:"""
    key = master_key(settings)
    record = this.record
    envelope = record.file("verdict.dsse.json").read_bytes()
    index = int(record.file("ledger-index").read_text(encoding="ascii"))
    book = open_ledger(settings, state)
    made = {
        layout.BUILD_INFO: lambda: _build_info(this),
        layout.LOCK: record.file("packages.lock").read_bytes,
        layout.PINS: record.file("pins.json").read_bytes,
        layout.VERDICT: lambda: envelope,
        layout.LEDGER_PROOF: lambda: layout.prove_entry(book, index, envelope).encode(),
        layout.HOW_TO_CHECK: lambda: how_to_check(this.verdict, key.public, settings.ledger.origin),
        layout.MASTER_PUB: lambda: f"{key.public.hex}\n".encode(),
    }
    for host in this.statements:
        made[layout.statement_asset(host)] = record.file("statements/{host}.json", host).read_bytes
        made[layout.key_asset(host)] = (settings.folder / "hosts" / f"{host}.toml").read_bytes
    digests = {this.iso.name: f"sha256:{this.verdict.iso_sha256}"}
    for name, make in made.items():
        digests[name] = sha256(_once(this.folder / name, make()))
    sums = layout.format_sums(digests)
    signed = {
        layout.SUMS: sums,
        layout.MINISIG: minisign.sign(sums, key, f"{this.verdict.ref} {this.verdict.commit}"),
        layout.SSHSIG: sshsig.sign(sums, key),
    }
    for name, data in signed.items():
        digests[name] = sha256(_once(this.folder / name, data))
    missing = layout.required_assets(this.verdict) - digests.keys()
    if missing:
        raise ProofError("release", expected="every asset of its layout", got=f"none of {sorted(missing)}")
    return {name: Asset(this.folder / name, digest) for name, digest in digests.items()}


def _once(path: Path, data: bytes) -> bytes:
    """Write a file of the release, or keep the one that an earlier try wrote."""
    try:
        write_durably(path, data, replace=False)
    except FileExistsError:
        return path.read_bytes()
    return data
