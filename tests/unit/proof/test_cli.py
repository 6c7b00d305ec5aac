"""``silvermetal``: exit codes as documented, the file at fault named, no traceback for any file."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from silvermetal_proof.cli import main
from silvermetal_proof.cli.ends import End
from silvermetal_proof.digest import measure, sha256
from silvermetal_proof.host import Operator
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.pins import Pins
from silvermetal_proof.statement import SigningKey, sign
from silvermetal_proof.statement.schema import Dependency, DigestSet
from silvermetal_proof.verdict import Outcome, Policy, TagSeen, decide, sign_verdict

from tests.unit.proof.makers import COMMIT, OPERATORS, A, B, C, Host, case, hex64, key_of, request

MASTER = key_of("master")
ORIGIN = "example.org/ledger"
IMAGE = bytes(range(256)) * 300
LOCK = b'{"packages":[]}\n'
PINS = Pins(
    recipe="minimal-live",
    recipe_conf=sha256(b"conf"),
    source_date_epoch=1,
    builder_image=sha256(b"image"),
    lock=sha256(LOCK),
    settings={},
)


def _built(host: Host, image: bytes = IMAGE) -> Host:
    """``host`` as one that really hashed ``image``."""
    found = measure(io.BytesIO(image), host.nonce)
    return host.but(
        iso=found.sha256[7:],
        size=found.size,
        keyed=found.keyed[7:],
        chunks=tuple(c[7:] for c in found.chunks),
        says={"pins": PINS.digest},
    )


def _verdict(at: str) -> bytes:
    """Another verdict of this master."""
    return sign_verdict(decide(case(A, B, at=at)), MASTER, "urn:silvermetal:master:test")


def write(
    folder: Path,
    *hosts: Host,
    floor: int = 0,
    level: int = 2,
    operators: tuple[Operator, ...] = (),
    image: bytes = IMAGE,
) -> Outcome:
    """A folder as `silvermetal-master wait --copy-to` leaves it."""
    asked = case(
        *hosts,
        request=request(hosts, pins=PINS.digest),
        policy=Policy(quorum=2, min_independence=level, size_floor=floor),
        operators=operators,
    )
    verdict = decide(asked)
    envelope = sign_verdict(verdict, MASTER, "urn:silvermetal:master:test")
    (folder / "statements").mkdir(parents=True)
    (folder / "keys").mkdir()
    for host in hosts:
        (folder / "statements" / f"{host.name}.json").write_bytes(host.envelope)
        lines = [f"{k} = {json.dumps(v)}\n" for k, v in host.entry.plain().items()]
        (folder / "keys" / f"{host.name}.toml").write_text("".join(lines))
    (folder / "keys" / "master.pub").write_text(f"{MASTER.public.hex}\n")
    (folder / "verdict.dsse.json").write_bytes(envelope)
    (folder / "pins.json").write_bytes(PINS.encode())
    (folder / "packages.lock").write_bytes(LOCK)
    ledger = Ledger(folder / "ledger", ORIGIN, MASTER.public)
    for entry in (_verdict("2026-03-01T10:00:00Z"), envelope, _verdict("2026-03-01T14:00:00Z")):
        ledger.append(entry, MASTER)
    shutil.rmtree(folder / ".lock", ignore_errors=True)
    (folder / "ledger" / ".lock").unlink()
    (folder / "silvermetal.iso").write_bytes(image)
    return verdict.outcome


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert write(tmp_path / "out", _built(A), _built(B)) is Outcome.REPRODUCED
    shutil.copytree(tmp_path / "out" / "keys", tmp_path / "trusted")
    (tmp_path / "trusted" / "master.pub").unlink()
    return tmp_path / "out"


def run(*argv: str) -> Result:
    result = CliRunner().invoke(main, argv)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def verify(folder: Path, *more: str, keys: Path | None = None, master: str = MASTER.public.hex) -> Result:
    trusted = keys or folder.with_name("trusted")
    argv = ["verify", str(folder), "--keys", str(trusted), "--master-key", master, "--origin", ORIGIN, *more]
    return run(*argv)


def test_a_valid_folder_holds(folder: Path) -> None:
    result = verify(folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (End.HOLDS, "everything in the folder holds")
    assert "REPRODUCED: host-a, host-b built the same bytes" in result.stdout
    told = json.loads(verify(folder, "--json").stdout)
    assert told == {
        "ok": True,
        "outcome": "REPRODUCED",
        "iso_sha256": sha256(IMAGE)[7:],
        "level": 2,
        "isos": 1,
        "unproven": [],
    }


# What each file's damage ends with; every file of the folder is in here (see the test below).
CODES = {
    "verdict.dsse.json": {End.SIGNATURE, End.UNREADABLE},
    "statements/host-a.json": {End.STATEMENTS},
    "statements/host-b.json": {End.STATEMENTS},
    "keys/host-a.toml": {End.SIGNATURE},
    "keys/host-b.toml": {End.SIGNATURE},
    "keys/master.pub": {End.SIGNATURE},
    "pins.json": {End.STATEMENTS},
    "packages.lock": {End.STATEMENTS},
    "silvermetal.iso": {End.ISO},
    "ledger/checkpoint": {End.LEDGER},
    "ledger/entries/000000000000": {End.LEDGER},
    "ledger/entries/000000000001": {End.LEDGER},
    "ledger/entries/000000000002": {End.LEDGER},
}


def test_the_table_of_codes_has_every_file(folder: Path) -> None:
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(CODES)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("place", [0.0, 0.31, 0.5, 0.73, 1.0])
@pytest.mark.parametrize("bit", [0, 5])
def test_one_flipped_bit_in_any_file_is_told_with_its_code_and_name(
    folder: Path, name: str, place: float, bit: int
) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1 << bit
    path.write_bytes(data)
    result = verify(folder, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code in CODES[name], result.stdout
    assert (told["ok"], End[told["end"]]) == (False, result.exit_code)
    named = str(path)
    assert told["file"] == named
    assert told["why"]
    plain = verify(folder)
    assert (plain.exit_code, plain.stdout) == (result.exit_code, "")
    assert plain.stderr.startswith(f"silvermetal: {named}: ")


def test_the_callers_thresholds_are_the_callers(folder: Path) -> None:
    assert verify(folder, "--threshold", "3").exit_code == End.POLICY
    refused = verify(folder, "--min-independence", "3")
    assert (refused.exit_code, "expected independence I3, got I2" in refused.stderr) == (End.POLICY, True)
    assert verify(folder, "--min-independence", "2").exit_code == End.HOLDS


def test_the_operators_are_the_callers(tmp_path: Path) -> None:
    """I3 and I4 are decided again by the operators' keys that the caller has; the master's word alone is not enough."""
    out = tmp_path / "out"
    assert write(out, _built(A), _built(B), level=4, operators=OPERATORS) is Outcome.REPRODUCED
    keys = out / "keys"
    alice, bob, _ = (f"--operator={o.operator}={o.public_key}" for o in OPERATORS)
    asks = ("--min-independence", "4")
    assert verify(out, *asks, alice, bob, keys=keys).exit_code == End.HOLDS
    alone = verify(out, *asks, keys=keys)
    assert (alone.exit_code, "I4 is the master's word alone" in alone.stderr) == (End.POLICY, True)
    half = verify(out, *asks, alice, keys=keys)
    assert (half.exit_code, "operator bob of host host-b is not known" in half.stderr) == (End.STATEMENTS, True)
    thief = verify(out, *asks, alice, f"--operator=bob={MASTER.public.hex}", keys=keys)
    assert (thief.exit_code, "signature of host host-b does not hold" in thief.stderr) == (End.STATEMENTS, True)
    assert verify(out, "--min-independence", "2", alice, keys=keys).exit_code == End.HOLDS
    for nonsense in ("bob", "bob=", "=" + MASTER.public.hex, "bob=xyz"):
        told = verify(out, "--operator", nonsense, keys=keys)
        assert (told.exit_code, "expected NAME=64 hex digits" in told.stderr) == (End.USAGE, True)


def test_keys_are_the_callers(folder: Path, tmp_path: Path) -> None:
    assert verify(folder, master=B.key.public.hex).exit_code == End.SIGNATURE
    assert verify(folder, master="nonsense").exit_code == End.USAGE
    assert verify(folder, keys=tmp_path / "nowhere").exit_code == End.UNREADABLE
    (folder.with_name("trusted") / "host-b.toml").unlink()
    unknown = verify(folder)
    assert (unknown.exit_code, "expected a key for host host-b" in unknown.stderr) == (End.SIGNATURE, True)


@pytest.mark.parametrize("text", ["host = ", "unknown = 1", "\x00", 'host = "../x"'])
def test_a_bad_host_entry_is_told_by_its_file(folder: Path, text: str) -> None:
    path = folder.with_name("trusted") / "host-a.toml"
    path.write_text(text)
    result = verify(folder)
    assert (result.exit_code, str(path) in result.stderr) == (End.UNREADABLE, True)


def test_a_key_that_was_revoked_before_the_verdict_is_refused(folder: Path) -> None:
    path = folder.with_name("trusted") / "host-a.toml"
    path.write_text(path.read_text() + 'revoked = "2026-02-01T00:00:00Z"\n')
    result = verify(folder)
    assert (result.exit_code, "is revoked" in result.stderr) == (End.SIGNATURE, True)


def test_swapped_statements_and_a_stranger_are_refused(folder: Path) -> None:
    (folder / "statements" / "host-c.json").write_bytes(C.envelope)
    assert verify(folder).exit_code == End.STATEMENTS
    (folder / "statements" / "host-c.json").unlink()
    (folder / "statements" / "host-a.json").write_bytes(_built(B).envelope)
    assert verify(folder).exit_code == End.STATEMENTS


def test_another_outcome_has_its_own_code(tmp_path: Path) -> None:
    assert write(tmp_path / "out", _built(A), _built(B, IMAGE + b"x")) is Outcome.DIVERGED
    result = verify(tmp_path / "out", keys=tmp_path / "out" / "keys")
    assert (result.exit_code, "verdict is DIVERGED" in result.stderr) == (End.OTHER_VERDICT, True)


def test_an_iso_that_a_host_did_not_have_is_refused(tmp_path: Path) -> None:
    """Right digest, right signature, but a keyed digest that was not made from the bytes."""
    copied = _built(B).but(keyed=hex64("made up"))
    assert write(tmp_path / "out", _built(A), copied) is Outcome.REPRODUCED
    result = verify(tmp_path / "out", keys=tmp_path / "out" / "keys")
    assert (result.exit_code, "host-b did not have these bytes" in result.stderr) == (End.ISO, True)


def test_usage_errors() -> None:
    assert run("verify").exit_code == End.USAGE
    assert run("nonsense").exit_code == End.USAGE
    assert "Exit codes: 0 holds" in " ".join(run("--help").stdout.split())


# ledger


def check(folder: Path, *more: str, key: str = MASTER.public.hex) -> Result:
    return run("ledger", "check", str(folder), "--origin", ORIGIN, "--key", key, *more)


def test_ledger_check(folder: Path, tmp_path: Path) -> None:
    assert "3 entries, whole and unaltered" in check(folder / "ledger").stdout
    assert json.loads(check(folder / "ledger", "--json").stdout)["entries"] == 3
    assert check(folder / "ledger", key=B.key.public.hex).exit_code == End.LEDGER
    assert check(tmp_path / "nowhere").exit_code == End.LEDGER, "a ledger that is gone is not an empty one"
    assert check(folder / "ledger", "--since", str(tmp_path / "nowhere")).exit_code == End.UNREADABLE


def test_ledger_check_since_finds_the_rewound_and_the_forked(folder: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    shutil.copyfile(folder / "ledger" / "checkpoint", seen)
    assert check(folder / "ledger", "--since", str(seen)).exit_code == End.HOLDS
    Ledger(folder / "ledger", ORIGIN, MASTER.public).append(b"more", MASTER)
    assert check(folder / "ledger", "--since", str(seen)).exit_code == End.HOLDS
    for name, entries in (("rewound", [_verdict("2026-03-01T10:00:00Z")]), ("forked", [b"x"] * 5)):
        other = Ledger(tmp_path / name, ORIGIN, MASTER.public)
        for entry in entries:
            other.append(entry, MASTER)
        result = check(other.path, "--since", str(seen))
        assert (result.exit_code, "rewound or forked" in result.stderr) == (End.LEDGER, True)


# keygen


def test_keygen_makes_a_pair_and_overwrites_nothing(tmp_path: Path) -> None:
    file = tmp_path / "key"
    told = json.loads(run("keygen", str(file), "--json").stdout)
    key = SigningKey.from_pem(file.read_bytes())
    assert told == {"public": key.public.hex, "keyid": key.public.keyid}
    assert (tmp_path / "key.pub").read_text() == f"{key.public.hex}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    again = run("keygen", str(file))
    assert (again.exit_code, "expected a new file" in again.stderr) == (End.UNREADABLE, True)
    assert SigningKey.from_pem(file.read_bytes()).public == key.public
    assert run("keygen", str(tmp_path / "no" / "folder")).exit_code == End.UNREADABLE


# inspect


def test_inspect_shows_and_says_that_nothing_is_verified(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(A.envelope)
    result = run("inspect", str(tmp_path / "s.json"))
    assert result.exit_code == End.HOLDS
    assert "not verified here; `silvermetal verify` does" in result.stdout
    assert json.loads(run("inspect", "--json", str(tmp_path / "s.json")).stdout) == json.loads(A.payload)


def test_inspect_tells_people_of_a_statement_what_was_built_and_on_which_machine(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(A.envelope)
    shown = run("inspect", str(tmp_path / "s.json")).stdout
    evidence = A.evidence
    for word in (f"host {A.name}, worker {A.worker}", f"sha256:{A.iso}", f"commit {COMMIT}", "ISO9660, bootable"):
        assert word in shown, shown
    rows = dict(re.findall(r"^    ([a-z()-]+(?: [a-z()]+)?) {2,}(.+)$", shown, re.MULTILINE))
    assert rows["hardware (dmi)"] == evidence.dmi
    assert rows["machine-id"] == evidence.machine_id
    assert rows["engine"] == "docker 28.0, id engine-host-a"
    assert "{" not in shown, "for people; --json is for programs"
    without = A.but(evidence_changes={"dmi": None}).envelope
    (tmp_path / "s.json").write_bytes(without)
    assert "none: the machine tells no product UUID, so I2 at most" in run("inspect", str(tmp_path / "s.json")).stdout


def test_inspect_counts_the_inputs_that_it_does_not_show(tmp_path: Path) -> None:
    packages = tuple(Dependency(name=f"package p{n}", version="1") for n in range(40))
    commit = Dependency(name="commit", digest=DigestSet(git_commit=COMMIT))
    (tmp_path / "s.json").write_bytes(A.but(dependencies=(*packages, commit)).envelope)
    shown = run("inspect", str(tmp_path / "s.json")).stdout
    assert f"inputs, 41\n    commit {COMMIT}\n    package p0 1\n" in shown
    assert "and 29 more (--json has all)" in shown


@pytest.mark.parametrize("hosts", [(A, B), (A, B.but(iso=hex64("other")))], ids=["reproduced", "diverged"])
def test_inspect_tells_people_of_a_verdict_what_it_says_and_each_machine(
    tmp_path: Path, hosts: tuple[Host, ...]
) -> None:
    verdict = decide(case(*hosts))
    (tmp_path / "v.json").write_bytes(sign_verdict(verdict, MASTER, "urn:silvermetal:master:test"))
    shown = run("inspect", str(tmp_path / "v.json")).stdout
    assert f"{verdict.outcome}: {verdict.summary}" in shown
    assert shown.count("hardware (dmi)") == 2
    assert A.evidence.boot_id in shown and B.evidence.boot_id in shown


def _envelope(payload64: str) -> bytes:
    plain = json.loads(A.envelope)
    plain["payload"] = payload64
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        _envelope("AAA"),
        _envelope("\u00e9"),
        _envelope("AAAA"),
        sign(b"1e999", A.key),
        sign(b'"\\ud800"', A.key),
        sign(b"[" * 9999, A.key),
    ],
)
def test_inspect_of_anything_ends_with_a_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.json").write_bytes(data)
    result = run("inspect", str(tmp_path / "s.json"))
    assert result.exit_code == End.UNREADABLE
    assert str(tmp_path / "s.json") in result.stderr
    assert run("inspect", str(tmp_path / "nowhere")).exit_code == End.UNREADABLE


def test_inspect_sends_no_control_characters_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(sign(json.dumps({"x": "\x1b[2J\x9b31m\u202e"}).encode(), A.key))
    shown = run("inspect", str(tmp_path / "s.json")).stdout
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_inspect_shows_who_signed_the_tag_of_a_verdict(tmp_path: Path) -> None:
    tag = TagSeen(object="d" * 40, annotated=True, signature="ssh", signer="alice@example.org", key="SHA256:abc")
    asked = case(A, B)
    verdict = decide(replace(asked, request=asked.request.model_copy(update={"tag": tag})))
    (tmp_path / "v.json").write_bytes(sign_verdict(verdict, MASTER, "urn:silvermetal:master:test"))
    result = run("inspect", str(tmp_path / "v.json"))
    assert result.exit_code == End.HOLDS
    line = f"  tag object {'d' * 40}, signed by alice@example.org (ssh key SHA256:abc)"
    assert line in result.stdout.splitlines()
    hostile = verdict.model_copy(update={"summary": "\x1b[2J\x9b31m\u202e\u2028REPRODUCED: all is well"})
    (tmp_path / "h.json").write_bytes(sign_verdict(hostile, A.key, "urn:silvermetal:master:test"))
    shown = run("inspect", str(tmp_path / "h.json")).stdout
    assert "all is well" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)
