"""What a stranger does with a release that the real service published: check it, catch what was changed, build it again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from silvermetal_proof.cli.ends import End
from silvermetal_proof.digest import sha256
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.release import format_sums, minisign, prove_entry, sshsig
from silvermetal_proof.statement import SigningKey

from tests.support.processes import run
from tests.support.publishing import ORIGIN, Publishing
from tests.support.service import BIN

pytestmark = pytest.mark.system
TAG = "v0"
PAGE = (Path(__file__).parents[2] / "docs" / "verify-a-release.md").read_text(encoding="utf-8")
COMMANDS = [block.strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]


class World:
    """A published release, and a stranger with keys from elsewhere and a memory."""

    def __init__(self, publishing: Publishing, path: Path) -> None:
        self.publishing, self.gitea, self.path = publishing, publishing.gitea, path
        release = publishing.release(TAG)
        assert release is not None
        self.url = str(release["html_url"])
        self.keys = path / "keys"
        shutil.copytree(publishing.service.config / "hosts", self.keys)

    def check(self, *more: str, into: str = "got") -> tuple[int, dict[str, Any]]:
        trusted = self.publishing.trusting("--state", str(self.path / "state"), keys=self.keys)
        argv = [f"{BIN}/silvermetal", "verify-release", self.url, "--into", str(self.path / into), *trusted, "--json"]
        done = subprocess.run(
            [*argv, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd=self.path
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    def id_of(self, name: str) -> int:
        return self.publishing.files(TAG)[name]

    def change(self, name: str, data: bytes) -> None:
        self.gitea.files[self.id_of(name)] = data

    def bytes_of(self, name: str) -> bytes:
        return self.gitea.files[self.id_of(name)]

    @property
    def master(self) -> SigningKey:
        pem = (self.publishing.service.config / "secrets" / "master-signing.pem").read_bytes()
        return SigningKey.from_pem(pem)

    def sign_again(self) -> None:
        """The list of the files as they are, by the master's own key: what a master could do that lies."""
        names = {n for n in self.publishing.files(TAG) if not n.startswith("SHA256SUMS")}
        sums = format_sums({name: sha256(self.bytes_of(name)) for name in names})
        self.change("SHA256SUMS", sums)
        self.change("SHA256SUMS.minisig", minisign.sign(sums, self.master, "x"))
        self.change("SHA256SUMS.sig", sshsig.sign(sums, self.master))


@pytest.fixture
def world(publishing: Publishing, tmp_path: Path) -> Iterator[World]:
    published = publishing
    if published.release(TAG) is None:
        published.publish(TAG)
    release = published.release(TAG)
    assert release is not None
    files, assets = dict(published.gitea.files), list(release["assets"])  # type: ignore[call-overload]
    yield World(published, tmp_path)
    published.gitea.files.clear()
    published.gitea.files.update(files)
    release["assets"] = assets


def _flip(name: str) -> Callable[[World], None]:
    return lambda w: w.change(name, bytes([w.bytes_of(name)[0] ^ 1]) + w.bytes_of(name)[1:])


def _edited_sums(world: World) -> None:
    first = world.bytes_of("SHA256SUMS")[:1]
    world.change("SHA256SUMS", (b"0" if first != b"0" else b"1") + world.bytes_of("SHA256SUMS")[1:])


def _without(name: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        release = world.publishing.release(TAG)
        assert release is not None
        release["assets"] = [a for a in release["assets"] if a["name"] != name]  # type: ignore[attr-defined]

    return change


def _revoke(world: World) -> None:
    path = world.keys / "host-a.toml"
    text = re.sub(r'valid_from = ".*"', 'valid_from = "2020-01-01T00:00:00Z"', path.read_text())
    path.write_text(text + 'revoked = "2020-06-01T00:00:00Z"\n')


def _in_a_ledger(world: World, past: bytes) -> None:
    """The master shows its verdict as the second entry of a ledger that begins with ``past``."""
    ledger = Ledger(world.path / f"ledger of {past.decode()}", ORIGIN, world.master.public)
    ledger.append(past, world.master)
    envelope = world.bytes_of("verdict.dsse.json")
    index = ledger.append(envelope, world.master)
    world.change("ledger-proof.json", prove_entry(ledger, index, envelope).encode())
    world.sign_again()


BAD: dict[str, tuple[Callable[[World], None], tuple[str, ...], End]] = {
    "a swapped asset: the ISO": (_flip("tiny.iso"), (), End.ISO),
    "a swapped asset: a statement": (_flip("statement-host-b.json"), (), End.STATEMENTS),
    "a swapped asset: the inputs": (_flip("BUILD_INFO"), (), End.SUMS),
    "edited sums": (_edited_sums, (), End.SIGNATURE),
    "a missing statement": (_without("statement-host-a.json"), (), End.STATEMENTS),
    "a missing ISO": (_without("tiny.iso"), (), End.ISO),
    "a missing list": (_without("SHA256SUMS"), (), End.NETWORK),
    "a revoked key": (_revoke, (), End.SIGNATURE),
    "more hosts asked for than there are": (lambda w: None, ("--threshold", "3"), End.POLICY),
    "more independence asked for than there is": (lambda w: None, ("--min-independence", "2"), End.POLICY),
}


def test_a_release_holds_by_its_address(world: World) -> None:
    code, told = world.check()
    assert (code, told["ok"], told["outcome"], told["level"]) == (End.HOLDS, True, "REPRODUCED", 1), told


def test_the_folder_of_static_files_holds_the_same_release(world: World) -> None:
    shelf = world.publishing.service.folder / "shelf" / TAG
    trusted = world.publishing.trusting("--state", str(world.path / "state"))
    told = json.loads(run([f"{BIN}/silvermetal", "verify-release", str(shelf), *trusted, "--json"]))
    assert told["ok"]
    assert {p.name: p.read_bytes() for p in shelf.iterdir()} == {
        n: world.bytes_of(n) for n in world.publishing.files(TAG)
    }
    assert {p.stat().st_mode & 0o777 for p in shelf.iterdir()} == {0o644}


@pytest.mark.parametrize("name", BAD)
def test_what_was_changed_has_its_code(world: World, name: str) -> None:
    change, asked, end = BAD[name]
    change(world)
    code, told = world.check(*asked)
    assert (code, told["end"]) == (end, end.name), told


def test_a_rewound_ledger_is_seen_by_who_remembers(world: World) -> None:
    _in_a_ledger(world, b"one past")
    assert world.check(into="seen")[0] == End.HOLDS
    _in_a_ledger(world, b"another past")
    code, told = world.check(into="rewound")
    assert (code, told.get("end")) == (End.LEDGER, "LEDGER"), told
    assert "forked or rewound" in told["why"]
    assert world.check("--state", str(world.path / "none"), into="forgetful")[0] == End.HOLDS, "who remembers nothing"


def _rebuild(world: World, source: Path | str, *more: str) -> tuple[int, dict[str, Any]]:
    return world.check("--rebuild", "--source", str(source), "--rebuild-into", str(world.path / "again"), *more)


def test_it_is_built_again_to_the_byte(world: World) -> None:
    service = world.publishing.service
    (service.tree / "payload").write_text("what is not committed does not get in\n")
    try:
        code, told = _rebuild(world, service.tree)
    finally:
        service.git("checkout", "--quiet", "payload")
    assert (code, told["ok"]) == (End.HOLDS, True), told
    assert Path(told["rebuilt"]).read_bytes() == world.bytes_of("tiny.iso")
    assert _rebuild(world, service.repository)[0] == End.HOLDS, "again, over the earlier one, from the address"


def _repository_that_builds_otherwise(world: World) -> Path:
    """A clone whose git gives the commit, with a program of the machine that differs: another xorriso."""
    programs = world.path / "programs"
    programs.mkdir()
    (programs / "xorriso").write_text(
        f'#!/bin/sh\n[ "$1" != -as ] || echo otherwise >>"$(eval echo \\${{$#}})/payload"\nexec {shutil.which("xorriso")} "$@"\n'
    )
    (programs / "xorriso").chmod(0o755)
    return programs


def test_a_rebuild_that_differs_has_its_code_and_names_the_next_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{_repository_that_builds_otherwise(world)}:{os.environ['PATH']}")
    code, told = _rebuild(world, world.publishing.service.repository)
    assert (code, told["end"]) == (End.REBUILT_OTHER, "REBUILT_OTHER"), told
    command = re.search(r"`(silvermetal diff .*)`", told["why"])
    assert command is not None
    done = subprocess.run([f"{BIN}/{command[1].split()[0]}", *command[1].split()[1:]], capture_output=True, timeout=120)
    assert (done.returncode, b"PAYLOAD" in done.stdout.upper()) == (1, True), done


def test_what_cannot_be_built_again_has_its_code(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.git"
    run(["git", "init", "--quiet", "--bare", str(empty)])
    code, told = _rebuild(world, empty)
    assert (code, "expected commit" in told["why"]) == (End.NOT_REBUILT, True), told
    code, told = _rebuild(world, tmp_path / "nowhere")
    assert (code, "expected a clone" in told["why"]) == (End.NOT_REBUILT, True), told
    mine = tmp_path / "again"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    code, told = _rebuild(world, world.publishing.service.repository)
    assert (code, (mine / "thesis.txt").exists()) == (End.USAGE, True), told
    (mine / "thesis.txt").unlink()
    mine.rmdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "xorriso").write_text("#!/bin/sh\nexit 7\n")
    (programs / "xorriso").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    code, told = _rebuild(world, world.publishing.service.repository)
    assert (code, "build.sh" in told["file"]) == (End.NOT_REBUILT, True), told


def test_a_release_that_does_not_hold_is_not_built(world: World) -> None:
    world.change("BUILD_INFO", b"COMMIT=x\n")
    assert _rebuild(world, world.publishing.service.repository)[0] == End.SUMS
    assert not (world.path / "again").exists()


def test_every_command_of_the_page_runs_as_it_stands_there(world: World) -> None:
    """docs/verify-a-release.md, from the first command to the last, by somebody who has the keys from elsewhere."""
    lacking = [tool for tool in ("minisign", "ssh-keygen", "sha256sum") if shutil.which(tool) is None]
    if lacking:
        pytest.skip(f"this machine lacks {', '.join(lacking)}")
    public, service = world.master.public, world.publishing.service
    verdict = service.verdict(TAG)
    env = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(world.path / "state-home"),
        "MINISIGN_KEY": minisign.public_key(public),
        "MASTER_KEY": public.hex,
        "ORIGIN": ORIGIN,
        "REPOSITORY": str(service.repository),
    }
    pins = json.loads(world.bytes_of("pins.json"))
    ran = []
    for command in sorted(COMMANDS, key=lambda c: "silvermetal verify-release https" not in c):
        ready = command.replace("https://git.example.org/o/r/releases/tag/v1", world.url)
        ready = ready.replace("git clone REPOSITORY", f"git clone {service.repository}").replace(
            "COMMIT", verdict.commit
        )
        ready = ready.replace("sha256:…", pins["builder_image"]).replace(
            "EPOCH=…", f"EPOCH={pins['source_date_epoch']}"
        )
        ready = ready.replace("release v1 ", f"release {TAG} ").replace("../v1/", f"../{TAG}/")
        assert "…" not in ready, ready
        in_release = command.split()[0] in ("sha256sum", "minisign", "ssh-keygen")
        folder = world.path / TAG if in_release else world.path
        if in_release:
            (world.path / TAG).mkdir(exist_ok=True)
            (folder / "signers").write_text(sshsig.allowed_signers(public))
        if "scripts/build.sh" in command:
            ready += " --recipe tiny --output ../by-hand"
        done = subprocess.run(
            ["bash", "-c", ready],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (ready, done.stdout, done.stderr)
        (world.path / TAG / "signers").unlink(missing_ok=True)
        ran.append(command.split()[0])
    assert sorted(ran) == ["git", "minisign", "sha256sum", "silvermetal", "silvermetal", "ssh-keygen"]
    (by_hand,) = (world.path / "by-hand").glob("*.iso")
    assert by_hand.read_bytes() == world.bytes_of("tiny.iso")
