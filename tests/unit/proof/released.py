"""A whole release in a folder, as the builder publish makes it, with the keys of its reader beside it."""

from __future__ import annotations

import json
from pathlib import Path

from silvermetal_proof.digest import sha256
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.release import format_sums, iso_name, minisign, prove_entry, sshsig, statement_asset
from silvermetal_proof.release.how_to_check import how_to_check
from silvermetal_proof.verdict import Policy, Verdict, decide, sign_verdict

from tests.unit.proof.makers import A, B, case, request
from tests.unit.proof.test_cli import IMAGE, LOCK, MASTER, ORIGIN, PINS, _built

EARLIER = (b"an earlier verdict",)


def seal_sums(folder: Path, names: dict[str, bytes] | None = None) -> None:
    """Write and sign ``SHA256SUMS`` over the folder as it is."""
    special = {"SHA256SUMS", "SHA256SUMS.minisig", "SHA256SUMS.sig"}
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in special}
    sums = format_sums({n: sha256(d) for n, d in (names or files).items()})
    (folder / "SHA256SUMS").write_bytes(sums)
    (folder / "SHA256SUMS.minisig").write_bytes(minisign.sign(sums, MASTER, "release"))
    (folder / "SHA256SUMS.sig").write_bytes(sshsig.sign(sums, MASTER))


def write_release(
    folder: Path, keys: Path, *, earlier: tuple[bytes, ...] = EARLIER, later: tuple[bytes, ...] = (), at: str = ""
) -> Verdict:
    """Write release, reader's keys, and the ledger (beside the release, as ``ledger``)."""
    hosts = (_built(A), _built(B))
    asked = case(*hosts, request=request(hosts, pins=PINS.digest), policy=Policy(quorum=2, size_floor=0), operators=())
    verdict = decide(asked)
    if at:
        verdict = verdict.model_copy(update={"decided": at})
    envelope = sign_verdict(verdict, MASTER, "urn:silvermetal:master:test")
    folder.mkdir(parents=True)
    keys.mkdir(exist_ok=True)
    ledger = Ledger(folder.with_name(f"{folder.name}-ledger"), ORIGIN, MASTER.public)
    for entry in earlier:
        ledger.append(entry, MASTER)
    index = ledger.append(envelope, MASTER)
    for entry in later:
        ledger.append(entry, MASTER)
    for host in hosts:
        (folder / statement_asset(host.name)).write_bytes(host.envelope)
        lines = [f"{k} = {json.dumps(v)}\n" for k, v in host.entry.plain().items()]
        (keys / f"{host.name}.toml").write_text("".join(lines))
    for name, data in (
        ("verdict.dsse.json", envelope),
        ("pins.json", PINS.encode()),
        ("packages.lock", LOCK),
        ("BUILD_INFO", b"COMMIT=x\n"),
        ("ledger-proof.json", prove_entry(ledger, index, envelope).encode()),
        ("HOW-TO-CHECK.md", how_to_check(verdict, MASTER.public, ORIGIN)),
        (iso_name(verdict), IMAGE),
    ):
        (folder / name).write_bytes(data)
    seal_sums(folder)
    return verdict
