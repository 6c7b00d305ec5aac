"""Attacks on what lies in the open: a verdict's folder, the ledger, the ISO; by a thief, a mirror, or the master's key.

Rules:

- ``silvermetal verify`` and ``silvermetal ledger check`` are what a user has; they run as commands.
- Each refusal has its documented code and names the file.
- Where the attacker holds the master's own key, only what others hold (host keys, an older checkpoint) is left to say no.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from silvermetal_proof.cli import main
from silvermetal_proof.cli.ends import End
from silvermetal_proof.errors import LedgerError
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.ledger.checkpoint import Checkpoint, sign_checkpoint
from silvermetal_proof.ledger.merkle import leaf_hash, root_hash
from silvermetal_proof.statement.schema import Dependency, DigestSet
from silvermetal_proof.verdict import Outcome, Verdict, decide, sign_verdict

from tests.unit.proof.makers import COMMIT, A, B, Host, case, flips, hex64, key_of

MASTER = key_of("master")
ORIGIN = "silvermetal/attacks"
VERIFIER = "urn:silvermetal:master:attacks"
ISO = bytes(range(256)) * 80 * 1024
DIGEST = hashlib.sha256(ISO).hexdigest()
CHUNKS = tuple(hashlib.sha256(ISO[at : at + 2**22]).hexdigest() for at in range(0, len(ISO), 2**22))


@dataclass
class Folder:
    """What `silvermetal-master wait --copy-to` hands out, with the keys as the user has them elsewhere."""

    path: Path
    keys: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path / "ledger", ORIGIN, MASTER.public)

    def verify(self, *more: str) -> tuple[int, str]:
        argv = ["verify", str(self.path), "--keys", str(self.keys), "--master-key", MASTER.public.hex]
        done = CliRunner().invoke(main, [*argv, "--origin", ORIGIN, *more])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    def refused(self, end: End, *words: str) -> None:
        code, told = self.verify()
        assert code == end, told
        assert [word for word in words if word not in told] == [], told


def honest(host: Host, iso: bytes = ISO) -> Host:
    """``host`` over the real bytes; its keyed digest is put in by :func:`publish`."""
    return host.but(iso=hashlib.sha256(iso).hexdigest(), size=len(ISO), chunks=CHUNKS)


def _envelope(host: Host, keyed: str | None) -> bytes:
    right = hmac.new(bytes.fromhex(host.nonce), ISO, "sha256").hexdigest()

    def put(statement: dict[str, Any]) -> None:
        statement["predicate"]["silvermetal_keyedDigest"] = keyed or right

    envelope = host.with_payload(put).envelope
    assert envelope is not None
    return envelope


def _toml(host: Host) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in host.entry.plain().items())


def publish(
    path: Path,
    hosts: Sequence[Host] = (honest(A), honest(B)),
    *,
    keyed: dict[str, str] | None = None,
    forge: Callable[[Verdict], Verdict] = lambda verdict: verdict,
) -> Folder:
    """A folder with these hosts' statements; ``forge`` is what the holder of the master's key makes of the verdict."""
    envelopes = {host.name: _envelope(host, (keyed or {}).get(host.name)) for host in hosts}
    judged = case(*hosts)
    submissions = tuple(type(s)(s.host, s.observation, envelope=envelopes[s.host]) for s in judged.submissions)
    verdict = forge(decide(case(*hosts, submissions=submissions)))
    folder = Folder(path / "release", path / "keys")
    (folder.path / "statements").mkdir(parents=True)
    folder.keys.mkdir()
    for host in hosts:
        (folder.path / "statements" / f"{host.name}.json").write_bytes(envelopes[host.name])
        (folder.keys / f"{host.name}.toml").write_text(_toml(host))
    signed = sign_verdict(verdict, MASTER, VERIFIER)
    (folder.path / "verdict.dsse.json").write_bytes(signed)
    for entry in (b"an older verdict", signed):
        folder.ledger.append(entry, MASTER)
    (folder.path / "tiny.iso").write_bytes(ISO)
    return folder


def believed(verdict: Verdict) -> Verdict:
    """What the master's key alone would make of any verdict: REPRODUCED at I2."""
    return verdict.model_copy(update={"outcome": Outcome.REPRODUCED, "level": 2, "drift": (), "reasons": ()})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return publish(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Folder, tmp_path: Path) -> Folder:
    """A copy to attack."""
    shutil.copytree(whole.path, tmp_path / "release")
    return Folder(tmp_path / "release", whole.keys)


def test_baseline_what_is_whole_is_believed(whole: Folder) -> None:
    code, told = whole.verify("--min-independence", "2")
    assert code == End.HOLDS, told
    assert "everything in the folder holds\n" in told


@pytest.mark.parametrize(
    ("file", "step"),
    [("verdict.dsse.json", 997), ("statements/host-a.json", 499), ("ledger/checkpoint", 61), ("tiny.iso", 40_000_003)],
)
def test_one_bit_anywhere(folder: Folder, file: str, step: int) -> None:
    target = folder.path / file
    before = target.read_bytes()
    for count, changed in enumerate(flips(before, step)):
        target.write_bytes(changed)
        code, told = folder.verify()
        assert code != End.HOLDS, f"flip {count} of {file}"
        assert Path(file).name in told or "ledger" in told, told
    target.write_bytes(before)
    assert folder.verify()[0] == End.HOLDS


def test_verdict_file_edited(folder: Folder) -> None:
    """The text is changed and encoded as well as the original, without the master's key."""
    path = folder.path / "verdict.dsse.json"
    folder_of_thief = publish(folder.path / "thief")
    own = decide(case(honest(A), honest(B)))
    path.write_bytes(sign_verdict(believed(own), key_of("a thief"), VERIFIER))
    shutil.rmtree(folder_of_thief.path.parent)
    folder.refused(End.SIGNATURE, "verdict.dsse.json", "signed by another key: expected")


def test_statement_in_the_verdicts_place(folder: Folder) -> None:
    (folder.path / "verdict.dsse.json").write_bytes((folder.path / "statements" / "host-a.json").read_bytes())
    folder.refused(End.SIGNATURE, "verdict.dsse.json", "another key")


def test_statements_renamed_to_one_another(folder: Folder) -> None:
    statements = folder.path / "statements"
    (statements / "host-a.json").rename(statements / "x")
    (statements / "host-b.json").rename(statements / "host-a.json")
    (statements / "x").rename(statements / "host-b.json")
    folder.refused(End.STATEMENTS, "statements/host-a.json", "expected the statement sha256:")


def test_statement_removed(folder: Folder) -> None:
    (folder.path / "statements" / "host-b.json").unlink()
    folder.refused(End.STATEMENTS, "statements/host-b.json", "expected it, got no file")


def test_statement_of_a_host_that_was_not_judged(folder: Folder) -> None:
    statements = folder.path / "statements"
    shutil.copy(statements / "host-a.json", statements / "host-c.json")
    folder.refused(End.STATEMENTS, "host-c.json", "expected a host of the verdict")


def test_iso_exchanged(folder: Folder) -> None:
    (folder.path / "tiny.iso").write_bytes(ISO[:-1] + b"!")
    folder.refused(End.ISO, "tiny.iso", f"expected sha256:{DIGEST}, got sha256:")


def test_iso_exchanged_under_another_spelling_of_its_name(folder: Folder) -> None:
    (folder.path / "tiny.iso").unlink()
    (folder.path / "TINY.ISO").write_bytes(ISO[:-1] + b"!")
    folder.refused(End.ISO, "TINY.ISO")


def test_iso_taken_away_is_said(folder: Folder) -> None:
    (folder.path / "tiny.iso").unlink()
    code, told = folder.verify()
    assert code == End.HOLDS
    assert "no ISO in it, so no image's bytes were looked at" in told


def test_copied_hash_with_a_right_signature(tmp_path: Path) -> None:
    """A host that knows the hash and never had the bytes: verdict and signatures hold, its keyed digest does not."""
    folder = publish(tmp_path, keyed={"host-b": hex64("a guess")})
    folder.refused(End.ISO, "host-b did not have these bytes: its keyed digest is another one")


def test_keyed_digest_copied_from_the_sibling(tmp_path: Path) -> None:
    right = hmac.new(bytes.fromhex(A.nonce), ISO, "sha256").hexdigest()
    publish(tmp_path, keyed={"host-b": right}).refused(End.ISO, "host-b did not have these bytes")


OTHER_INPUTS = (
    Dependency(name="commit", digest=DigestSet(git_commit=COMMIT)),
    Dependency(name="package bash:amd64", version="6.6.6"),
)
FORGERIES: dict[str, tuple[Sequence[Host], str]] = {
    "other_inputs": ((honest(A), honest(B).but(dependencies=OTHER_INPUTS)), "INPUT_DRIFT"),
    "another_commits_input": (
        tuple(
            honest(h).but(dependencies=(Dependency(name="commit", digest=DigestSet(git_commit="dead" * 10)),))
            for h in (A, B)
        ),
        "INPUT_DRIFT",
    ),
    "one_kernel": ((honest(A), honest(B).but(evidence_changes={"boot_id": A.evidence.boot_id})), "NOT_INDEPENDENT"),
    "one_machine": (
        (honest(A), honest(B).but(evidence_changes={"machine_id": A.evidence.machine_id})),
        "NOT_INDEPENDENT",
    ),
    "one_key": (
        (honest(A), honest(B).but(signer=A.key, entry_changes={"public_key": A.key.public.hex})),
        "signed with one key",
    ),
    "an_image_that_does_not_boot": ((honest(A), honest(B).but(bootable=False)), "expected it, got no file"),
    "chunks_that_differ": ((honest(A), honest(B).but(chunks=(hex64("another chunk"), *CHUNKS[1:]))), "DIVERGED"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_masters_key_signs_reproduced_over_statements_of(name: str, tmp_path: Path) -> None:
    """A stolen master's key makes a signature; it makes no statements."""
    hosts, said = FORGERIES[name]
    if name == "an_image_that_does_not_boot":
        said = "not bootable"

    def forge(verdict: Verdict) -> Verdict:
        right = {h.name: h for h in hosts}
        results = tuple(
            r.model_copy(
                update={
                    "valid": True,
                    "problem": None,
                    "iso": "silvermetal.iso",
                    "iso_sha256": DIGEST,
                    "size": len(ISO),
                    "evidence": right[r.host].evidence,
                }
            )
            for r in verdict.hosts
        )
        return believed(verdict.model_copy(update={"hosts": results}))

    publish(tmp_path, hosts, forge=forge).refused(End.STATEMENTS, "verdict.dsse.json", "decided again", said)


def test_masters_key_calls_a_dissenting_host_invalid(tmp_path: Path) -> None:
    third = Host("host-c", 2, iso=hex64("dissent"), size=len(ISO), chunks=CHUNKS)

    def forge(verdict: Verdict) -> Verdict:
        results = [r if r.host != "host-c" else r.model_copy(update={"valid": False}) for r in verdict.hosts]
        return believed(verdict.model_copy(update={"hosts": tuple(results), "odd_one_out": None}))

    folder = publish(tmp_path, (honest(A), honest(B), third), forge=forge)
    folder.refused(End.STATEMENTS, "decided again by its statements it is INVALID", "host-c")


def test_masters_key_claims_less_than_its_policy_asks(tmp_path: Path) -> None:
    folder = publish(tmp_path, forge=lambda v: v.model_copy(update={"level": 1}))
    folder.refused(End.STATEMENTS, "expected at least I2, which its policy asks for, got I1")


def test_key_revoked_since_in_the_users_own_key_set(whole: Folder, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(whole.keys, keys)
    with (keys / "host-b.toml").open("a") as entry:
        entry.write('revoked = "2026-02-01T00:00:00Z"\n')
    Folder(whole.path, keys).refused(End.SIGNATURE, "host-b.json", "revoked")


def test_two_entries_of_one_host_in_the_key_set(whole: Folder, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(whole.keys, keys)
    (keys / "z.toml").write_text((keys / "host-a.toml").read_text())
    Folder(whole.path, keys).refused(End.UNREADABLE, "z.toml", "expected one entry a host")


def _checked(folder: Folder, *more: str) -> tuple[int, str]:
    argv = ["ledger", "check", str(folder.path / "ledger"), "--origin", ORIGIN, "--key", MASTER.public.hex, *more]
    done = CliRunner().invoke(main, argv)
    return done.exit_code, done.output


def _last(folder: Folder) -> Path:
    return sorted((folder.path / "ledger" / "entries").iterdir())[-1]


def test_ledger_truncated(folder: Folder) -> None:
    _last(folder).unlink()
    folder.refused(End.LEDGER, "truncated: expected 2 entries, got 1 entries")
    assert _checked(folder)[0] == End.LEDGER
    with pytest.raises(LedgerError, match="truncated"):
        folder.ledger.append(b"next", MASTER)


def test_ledger_entry_altered(folder: Folder) -> None:
    (folder.path / "ledger" / "entries" / f"{0:012}").write_bytes(b"another past")
    folder.refused(End.LEDGER, "was altered: expected root")
    with pytest.raises(LedgerError, match="altered"):
        folder.ledger.append(b"next", MASTER)


def test_ledger_entry_in_the_middle_removed(folder: Folder) -> None:
    (folder.path / "ledger" / "entries" / f"{0:012}").unlink()
    folder.refused(End.LEDGER, "an entry is missing: expected entry 000000000000")


def test_ledger_without_a_checkpoint(folder: Folder) -> None:
    """Nobody signed that these entries are the log."""
    (folder.path / "ledger" / "checkpoint").unlink()
    folder.refused(End.LEDGER, "checkpoint")
    for entry in (folder.path / "ledger" / "entries").iterdir():
        entry.unlink()
    assert _checked(folder)[0] == End.LEDGER
    folder.refused(End.LEDGER)


def test_ledger_entry_beyond_the_checkpoint(folder: Folder) -> None:
    """A verdict that was signed and never recorded is put behind the signed entries."""
    ledger = folder.path / "ledger"
    leaves = [leaf_hash(b"an older verdict")]
    (ledger / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, 1, root_hash(leaves)), MASTER))
    folder.refused(End.LEDGER, "expected the verdict among the entries")


def test_ledger_of_another_name_or_key(folder: Folder) -> None:
    checkpoint = folder.path / "ledger" / "checkpoint"
    own = folder.ledger.checkpoint()
    assert own is not None
    checkpoint.write_bytes(sign_checkpoint(Checkpoint("other/log", own.size, own.root), MASTER))
    folder.refused(End.LEDGER, "checkpoint of another log: expected silvermetal/attacks")
    checkpoint.write_bytes(sign_checkpoint(own, key_of("a thief")))
    folder.refused(End.LEDGER, "signed by another key")


def test_ledger_rewound_by_the_holder_of_its_key(folder: Folder, tmp_path: Path) -> None:
    """Whole and well signed, and shorter than what somebody saw before."""
    seen = tmp_path / "seen"
    shutil.copy(folder.path / "ledger" / "checkpoint", seen)
    _last(folder).unlink()
    leaves = [leaf_hash(b"an older verdict")]
    (folder.path / "ledger" / "checkpoint").write_bytes(
        sign_checkpoint(Checkpoint(ORIGIN, 1, root_hash(leaves)), MASTER)
    )
    assert _checked(folder)[0] == End.HOLDS, "without memory nobody can tell"
    code, told = _checked(folder, "--since", str(seen))
    assert code == End.LEDGER
    assert "rewound or forked: expected the 2 entries" in told


def test_ledger_forked_by_the_holder_of_its_key(folder: Folder, tmp_path: Path) -> None:
    """As long as what was seen, and another past."""
    seen = tmp_path / "seen"
    shutil.copy(folder.path / "ledger" / "checkpoint", seen)
    shutil.rmtree(folder.path / "ledger")
    for entry in (b"a past that suits better", (folder.path / "verdict.dsse.json").read_bytes(), b"and more"):
        folder.ledger.append(entry, MASTER)
    assert folder.verify()[0] == End.HOLDS
    code, told = _checked(folder, "--since", str(seen))
    assert code == End.LEDGER
    assert "rewound or forked" in told
