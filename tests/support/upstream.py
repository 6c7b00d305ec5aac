"""derivative-maker in tests: one table of calls for its parser, real or ours, and a signed repository of the stand-in.

Rules:

- A fake stands beside a test that the real thing passes too: :data:`GRAMMAR` is asked of both, and of our own call.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.derivative_maker import read_settings

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "fakes" / "derivative-maker"
CONF = (ROOT / "config" / "silvermetal-base.conf").read_bytes()
SNAPSHOT = b"SNAPSHOT_TIMESTAMP=20260720T082444Z\nSUITE=trixie\n"
ARCHIVE = "https://archive.example/snapshots"
SETTINGS = read_settings(CONF, SNAPSHOT)
TAG = SETTINGS.tag

ISO = "--flavor kicksecure-cli --target iso --arch amd64 --freedom false"
GRAMMAR: tuple[tuple[str, str], ...] = (
    # A call, and what the refusal says; nothing for a call that is taken.
    (ISO, ""),
    (f"{ISO} --freshness current --repo false --tb none", ""),
    (f"{ISO} --retry-max 0 --hostname localhost --interactive false", ""),
    (f"{ISO} --debug --dry-run true", ""),
    (f"{ISO} --type vm", ""),
    (f"{ISO} --allow-untagged true --allow-uncommitted true --allow-unsigned true --sign-and-tag false", ""),
    ("--flavor kicksecure-cli --target iso --arch arm64", ""),
    ("--flavor kicksecure-cli --target raw --type vm --arch amd64", ""),
    ("--flavor kicksecure-lxqt --target virtualbox --arch amd64", ""),
    (f"{ISO} --fast 2 --connection onion --report true", ""),
    ("", "No option chosen"),
    ("--flavor kicksecure-cli --target iso --arch amd64", "select firmware"),
    ("--flavor kicksecure-cli --target iso --freedom false", "Missing '--arch'"),
    ("--target iso --arch amd64 --freedom false", "You must add either"),
    ("--flavor kicksecure-cli --arch amd64 --freedom false", "--target must be either"),
    ("--flavor kicksecure-cli --target raw --arch amd64", "You must add either"),
    (f"{ISO} --flavor kicksecure-cli", "multiple times"),
    ("--flavor silvermetal-base --target iso --arch amd64 --freedom false", "You must add either"),
    ("--flavour kicksecure-cli --target iso --arch amd64 --freedom false", "unknown option (1): '--flavour'"),
    (f"{ISO} --build", "unknown option (1): '--build'"),
    (f"{ISO} --dist silvermetal", "unknown option (1): '--dist'"),
    (f"{ISO} --config x", "unknown option (1): '--config'"),
    (f"{ISO} --build-slot a", "unknown option (1): '--build-slot'"),
    (f"{ISO} -f", "unknown option (1): '-f'"),
    (f"{ISO} iso", "unknown option (2): 'iso'"),
    (f"{ISO} --target dvd", "--target must be either"),
    (f"{ISO} --type server", "--type must be either"),
    (f"{ISO} --freshness frozen", "not implemented"),
    (f"{ISO} --freshness new", "'frozen' or 'current'"),
    (f"{ISO} --freedom no", "'true' or 'false'"),
    (f"{ISO} --dry-run yes", "'true' or 'false'"),
    (f"{ISO} --repo", "'true' or 'false'"),
    (f"{ISO} --interactive maybe", "'true' or 'false'"),
    (f"{ISO} --tb", "not be empty"),
    (f"{ISO} --hostname", "shift count out of range"),
    (f"{ISO} --connection wifi", "'clearnet' or 'onion'"),
    (f"{ISO} --fast 3", "'1' and '2'"),
    ("--flavor kicksecure-cli --target iso --arch i386 --freedom false", "no longer supported"),
    ("--flavor kicksecure-cli --target iso --arch x86_64 --freedom false", "Invalid '--arch'"),
    ("--flavor whonix-host-cli --target iso --arch amd64 --freedom false", ""),
)
# Each part's own names for the same thing, and no more than sourcing it takes: upstream's parser prints in colours that
# another of its files defines, and so is the list of architectures.
_ASK_UPSTREAM = """
red= bold= reset= cyan= under= eunder= green= yellow=
BUILD_KERNEL_PKGS= BUILD_HEADER_PKGS= BUILD_INITRAMFS_PKGS=
architecture_all_list=(amd64 arm64 armhf source)
error() { printf '%s\\n' "$*"; exit 1; }
source help-steps/parse-cmd
dist_build_one_parse_cmd "$@"
echo TAKEN "${build_dry_run:-false}"
"""
_ASK_STAND_IN = 'set -eu; source help-steps/parse-cmd; parse_cmd "$@"; echo TAKEN "${given[--dry-run]-false}"'


@dataclass(frozen=True)
class Answer:
    """What a parser said to a call."""

    taken: bool
    dry: bool
    said: str


def ask(tree: Path, argv: Sequence[str], *, ci: bool = False) -> Answer:
    """Ask the parser of a tree, upstream's or the stand-in's."""
    script = _ASK_STAND_IN if tree == STAND_IN else _ASK_UPSTREAM
    done = subprocess.run(
        ["bash", "-c", script, "ask", *argv],
        cwd=tree,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **({"CI": "true"} if ci else {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    taken = done.returncode == 0 and last.startswith("TAKEN")
    return Answer(taken, taken and last.endswith("true"), done.stdout)


def has(program: str) -> bool:
    """Whether this machine has a program."""
    return shutil.which(program) is not None


class Signer:
    """An OpenPGP key that signs tags, in a home of its own; :meth:`close` ends the agent that it needed."""

    def __init__(self, folder: Path, name: str = "A Stand-in <stand-in@example.org>") -> None:
        self.home = Path(tempfile.mkdtemp(prefix="sm-gpg-", dir="/tmp"))  # a socket's path may have 107 bytes
        self._gpg("--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never")
        listing = self._gpg("--with-colons", "--list-keys")
        self.fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        self.armour = self._gpg("--armor", "--export", self.fingerprint)

    def _gpg(self, *argv: str) -> str:
        return _run(["gpg", "--homedir", str(self.home), "--batch", "--quiet", *argv])

    def policy(self, *, sign_tag: bool = True) -> str:
        """Upstream's policy with this key alone in it."""
        word = "true" if sign_tag else "false"
        return (
            'version = 0\ncommit_goodlist = []\n\n[authorization."A Stand-in <stand-in@example.org>"]\n'
            f'sign_commit = true\nsign_tag = {word}\nkeyring = """\n{self.armour}"""\n'
        )

    def close(self) -> None:
        _run(["gpgconf", "--homedir", str(self.home), "--kill", "all"])
        shutil.rmtree(self.home, ignore_errors=True)


def _run(argv: Sequence[str], cwd: Path | None = None, **environment: str) -> str:
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", **environment}
    done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


class Upstream:
    """A repository of the stand-in, with a signed tag of the name that our configuration pins."""

    def __init__(self, path: Path, signer: Signer) -> None:
        self.path, self.signer = path, signer
        shutil.copytree(STAND_IN, path)
        self.write("buildconfig.d/openpgp-policy.toml", signer.policy())
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit = self.release()

    def git(self, *argv: str, **environment: str) -> str:
        return _run(["git", "-c", "protocol.file.allow=always", *argv], self.path, **environment).strip()

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def release(self, *, signer: Signer | None = None, tag: str = TAG) -> str:
        """Commit what is there and put the tag on it, signed; return the commit."""
        by = signer or self.signer
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "a release")
        self.git(
            "-c", f"user.signingkey={by.fingerprint}", "tag", "--force", "--sign", "-m", tag, tag,
            GNUPGHOME=str(by.home),
        )  # fmt: skip
        self.commit = self.git("rev-parse", "HEAD")
        return self.commit

    def misbehave(self, how: str) -> str:
        """A release that fails in this way; nothing for a good one."""
        (self.path / "misbehaviour").unlink(missing_ok=True)
        if how:
            self.write("misbehaviour", f"{how}\n")
        return self.release()


def conf_for(signer: Signer) -> str:
    """``config/silvermetal-base.conf`` as it stands, with the stand-in's signer and size."""
    text = CONF.decode().replace(SETTINGS["DERIVATIVE_MAKER_SIGNER"], signer.fingerprint)
    return "".join(line for line in text.splitlines(True) if not line.startswith("HOST_")) + "ISO_SIZE_FLOOR=65536\n"


def add_submodule(tree: Path, upstream: Upstream) -> None:
    """The gitlink of ``upstream`` in the index of ``tree``, and its section in .gitmodules."""
    (tree / ".gitmodules").write_text(
        f'[submodule "derivative-maker"]\n\tpath = derivative-maker\n\turl = {upstream.path}\n'
    )
    _run(["git", "add", ".gitmodules"], tree)
    _run(["git", "update-index", "--add", "--cacheinfo", f"160000,{upstream.commit},derivative-maker"], tree)
