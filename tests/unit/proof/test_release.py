"""A release's files: names, sums, signatures that other people's tools check, the ledger's proof, and who is admitted."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from silvermetal_proof.errors import LedgerError, MalformedError, ProofError, SignatureError
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.release import (
    LedgerProof,
    format_sums,
    host_of,
    iso_name,
    minisign,
    parse_sums,
    prove_entry,
    required_assets,
    sshsig,
    statement_asset,
)
from silvermetal_proof.release.admit import Wanted, admit
from silvermetal_proof.release.how_to_check import how_to_check
from silvermetal_proof.verdict import Outcome, decide, sign_verdict
from silvermetal_proof.verdict.records import Case

from tests.unit.proof.makers import BUILD, COMMIT, REF, A, B, case, flips, key_of
from tests.unit.proof.test_verdict import VERDICTS

KEY = key_of("master")
DATA = format_sums({"live.iso": "sha256:" + "a" * 64, "BUILD_INFO": "sha256:" + "b" * 64})
GOOD = case(A, B)
WANTED = Wanted(build=BUILD, ref=REF, commit=COMMIT, quorum=2, min_independence=2)


def test_names_of_assets() -> None:
    verdict = decide(GOOD)
    names = required_assets(verdict)
    assert {iso_name(verdict), "SHA256SUMS", "SHA256SUMS.minisig", "SHA256SUMS.sig", "ledger-proof.json"} <= names
    assert {statement_asset(A.name), statement_asset(B.name)} <= names
    assert host_of(statement_asset("host-a")) == "host-a"
    assert host_of("statement-../x.json") is None
    assert host_of("verdict.dsse.json") is None


def test_an_iso_with_a_name_that_is_no_name_is_refused() -> None:
    verdict = decide(GOOD)
    hosts = tuple(h.model_copy(update={"iso": "SHA256SUMS"}) for h in verdict.hosts)
    with pytest.raises(MalformedError, match=r"\.iso"):
        iso_name(verdict.model_copy(update={"hosts": hosts}))


def test_sums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    digest = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    (tmp_path / "SHA256SUMS").write_bytes(format_sums({"a": digest}))
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path, check=True, timeout=60)
    assert parse_sums(format_sums({"a": digest})) == {"a": digest}


@pytest.mark.parametrize("wrong", [b"", b"x", DATA[:-1], DATA + DATA, DATA.replace(b"live", b"../l"), b"\n"])
def test_other_sums_are_refused(wrong: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_sums(wrong)


def _tool(*argv: str, cwd: Path, stdin: bytes | None = None) -> int:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    return subprocess.run(argv, cwd=cwd, input=stdin or b"", capture_output=True, timeout=60, check=False).returncode


@pytest.mark.parametrize("altered", [False, True])
def test_minisign_and_signify_check_the_sums(tmp_path: Path, altered: bool) -> None:
    (tmp_path / "S").write_bytes(DATA.replace(b"a", b"c", 1) if altered else DATA)
    (tmp_path / "S.minisig").write_bytes(minisign.sign(DATA, KEY, "release v1"))
    expected = 1 if altered else 0
    assert _tool("minisign", "-V", "-P", minisign.public_key(KEY.public), "-m", "S", cwd=tmp_path) == expected
    (tmp_path / "k.pub").write_text(f"untrusted comment: key\n{minisign.public_key(KEY.public)}\n")
    assert _tool("signify-openbsd", "-V", "-p", "k.pub", "-x", "S.minisig", "-m", "S", cwd=tmp_path) == expected


@pytest.mark.parametrize("altered", [False, True])
def test_ssh_keygen_checks_the_sums(tmp_path: Path, altered: bool) -> None:
    (tmp_path / "S.sig").write_bytes(sshsig.sign(DATA, KEY))
    (tmp_path / "signers").write_text(sshsig.allowed_signers(KEY.public))
    data = DATA.replace(b"a", b"c", 1) if altered else DATA
    argv = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", sshsig.PRINCIPAL, "-n", "file", "-s", "S.sig"]
    assert (_tool(*argv, cwd=tmp_path, stdin=data) != 0) is altered


def test_our_own_check_takes_what_we_sign_and_no_altered_byte() -> None:
    signed, armoured = minisign.sign(DATA, KEY, "release v1"), sshsig.sign(DATA, KEY)
    assert minisign.verify(DATA, signed, KEY.public) == "release v1"
    sshsig.verify(DATA, armoured, KEY.public)
    other = key_of("stranger").public
    with pytest.raises(SignatureError):
        minisign.verify(DATA, signed, other)
    with pytest.raises(SignatureError):
        sshsig.verify(DATA, armoured, other)
    lines = signed.split(b"\n")
    for data in flips(lines[1], 5):
        with pytest.raises(ProofError):
            minisign.verify(DATA, b"\n".join([lines[0], data, *lines[2:]]), KEY.public)
    with pytest.raises(ProofError):
        minisign.verify(DATA, signed.replace(b"release v1", b"release v2"), KEY.public)
    with pytest.raises(ProofError):
        sshsig.verify(DATA + b"\n", armoured, KEY.public)


def test_the_ledgers_proof_holds_without_the_ledger(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger", "silvermetal/test", KEY.public)
    for number in range(5):
        book.append(b"entry %d" % number, KEY)
    proof = LedgerProof.read(prove_entry(book, 3, b"entry 3").encode())
    assert proof.check(b"entry 3", "silvermetal/test", KEY.public).size == 5
    for envelope, origin, key in (
        (b"entry 4", "silvermetal/test", KEY.public),
        (b"entry 3", "silvermetal/other", KEY.public),
        (b"entry 3", "silvermetal/test", key_of("stranger").public),
    ):
        with pytest.raises(LedgerError):
            proof.check(envelope, origin, key)
    with pytest.raises(LedgerError):
        prove_entry(book, 2, b"entry 3")


def _admit(made: Case, wanted: Wanted = WANTED, **changes: bytes | None) -> None:
    statements = {s.host: s.envelope for s in made.submissions if s.envelope is not None} | changes
    given = {host: data for host, data in statements.items() if data is not None}
    admit(sign_verdict(decide(made), KEY, "urn:x:y"), given, key=KEY.public, hosts=made.hosts, wanted=wanted)


def test_a_reproduced_verdict_is_admitted() -> None:
    _admit(GOOD)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.REPRODUCED])
def test_h4_no_other_outcome_is_admitted(outcome: Outcome) -> None:
    with pytest.raises(ProofError, match=f"expected REPRODUCED, got {outcome}"):
        _admit(VERDICTS[outcome])


@pytest.mark.parametrize(
    "wanted",
    [
        replace(WANTED, build="f" * 32),
        replace(WANTED, ref="refs/tags/v2"),
        replace(WANTED, commit="f" * 40),
        replace(WANTED, quorum=3),
    ],
)
def test_h4_a_verdict_about_something_else_or_below_todays_policy_is_not_admitted(wanted: Wanted) -> None:
    with pytest.raises(ProofError):
        _admit(GOOD, wanted)


def test_h4_a_level_below_todays_policy_is_not_admitted() -> None:
    with pytest.raises(ProofError, match="at least I4, got I2"):
        _admit(case(A, B, operators=()), replace(WANTED, min_independence=4))


def test_h4_a_verdict_without_its_statements_or_by_another_key_is_not_admitted() -> None:
    with pytest.raises(ProofError, match="got none"):
        _admit(GOOD, **{A.name: None})
    with pytest.raises(ProofError, match="statement of"):
        _admit(GOOD, **{A.name: B.submission.envelope})
    forged = sign_verdict(decide(GOOD), key_of("stranger"), "urn:x:y")
    with pytest.raises(SignatureError):
        admit(forged, {}, key=KEY.public, hosts=GOOD.hosts, wanted=WANTED)


def test_the_page_says_the_level_that_was_measured_and_the_commands() -> None:
    verdict = decide(GOOD)
    text = how_to_check(verdict, KEY.public, "silvermetal/test").decode()
    assert f"I{verdict.level} (" in text
    assert "sha256sum -c" in text and "ssh-keygen -Y verify" in text and "minisign -V" in text
    assert str(verdict.iso_sha256) in text
