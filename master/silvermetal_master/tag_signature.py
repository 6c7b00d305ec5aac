"""Who signed a tag: `git verify-tag` over the master's own mirror, with signers from the master's own settings.

Sources: gitformat-signature(5); ssh-keygen(1), ALLOWED SIGNERS; GnuPG's doc/DETAILS (status lines).

Rules:

- Signers are ``signers/allowed_signers`` (SSH) and ``signers/openpgp.asc`` (OpenPGP, armoured) in the settings' folder;
  nothing of the repository, of the tag's tree or of the user's own Git configuration is asked who may sign.
- It is the tag object that the ref names whose signature counts; a signature of another tag under this name does not.
- The ref must peel to the commit that is built. A refusal says expected and got.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from enum import StrEnum
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.errors import printable
from silvermetal_proof.verdict import TagSeen

from silvermetal_master.errors import PinningError

TIMEOUT = 60
SSH_SIGNERS = "allowed_signers"
OPENPGP_SIGNERS = "openpgp.asc"
_SSH_GOOD = re.compile(r'^Good "git" signature for (?P<who>.+) with (?P<kind>\S+) key (?P<key>SHA256:\S+)$', re.M)
_PGP_GOOD = re.compile(r"^\[GNUPG:\] GOODSIG \S+ (?P<who>.*)$", re.M)
_PGP_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{40,64})(?: \S+){8} ([0-9A-F]{40,64})$", re.M)
_KINDS = {
    b"-----BEGIN SSH SIGNATURE-----": "ssh",
    b"-----BEGIN PGP SIGNATURE-----": "openpgp",
    b"-----BEGIN PGP MESSAGE-----": "openpgp",
    b"-----BEGIN SIGNED MESSAGE-----": "x509",
}


class SignedTags(StrEnum):
    """What policy asks of a tag."""

    REQUIRED = "required"
    """Unsigned tags are refused, lightweight ones too."""
    WHEN_PRESENT = "when-present"
    """Unsigned tags are built; a signature that is there must hold and be an allowed signer's."""
    OFF = "off"
    """Signatures are not looked at."""


def _git(mirror: Path, *argv: str, home: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR")}
    # Nobody's own configuration may name other signers or another program that checks.
    env |= {"LC_ALL": "C.UTF-8", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    if home is not None:
        env["GNUPGHOME"] = str(home)
    try:
        done = subprocess.run(
            ["git", f"--git-dir={mirror}", *argv],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PinningError(f"git {argv[0]}: expected an end within {TIMEOUT} s, got none") from None
    if check and done.returncode != 0:
        said = printable(done.stderr.decode(errors="replace").strip(), 400)
        raise PinningError(f"git {argv[0]}: expected exit code 0, got {done.returncode}: {said}")
    return done


def _headers(data: bytes) -> dict[str, str]:
    head = data.partition(b"\n\n")[0].decode(errors="replace")
    return dict(line.split(" ", 1) for line in head.splitlines() if " " in line)


def _kind(data: bytes) -> str | None:
    """The form of the tag's signature, by its first line; None for an unsigned tag."""
    return next((_KINDS[line] for line in data.split(b"\n") if line in _KINDS), None)


def _refused(ref: str, kind: str, done: subprocess.CompletedProcess[bytes]) -> PinningError:
    said = printable(done.stderr.decode(errors="replace").strip().splitlines()[-1:], 300)
    return PinningError(
        f"{ref}: expected a signature by one of the allowed signers, got one ({kind}) that git refused: {said}"
    )


def _check_ssh(mirror: Path, ref: str, tag: str, signers: Path) -> tuple[str, str]:
    file = signers / SSH_SIGNERS
    if not file.is_file():
        raise PinningError(f"{ref} is signed by SSH: expected the allowed signers in {file}, got no such file")
    done = _git(mirror, "-c", f"gpg.ssh.allowedSignersFile={file.resolve()}", "verify-tag", "--raw", tag, check=False)
    match = _SSH_GOOD.search(done.stderr.decode(errors="replace"))
    if done.returncode != 0 or match is None:
        raise _refused(ref, "ssh", done)
    return match["who"], match["key"]


def _check_openpgp(mirror: Path, ref: str, tag: str, signers: Path) -> tuple[str, str]:
    who, key, _ = verify_openpgp(mirror, ref, tag, signers / OPENPGP_SIGNERS)
    return who, key


def verify_openpgp(mirror: Path, ref: str, tag: str, file: Path) -> tuple[str, str, str]:
    """Whose signature the tag object ``tag`` has, by the keys in ``file``: name, signing key, primary key.

    :raises PinningError: when none of these keys made it.
    """
    if not file.is_file():
        raise PinningError(f"{ref} is signed by OpenPGP: expected the allowed keys in {file}, got no such file")
    with tempfile.TemporaryDirectory(prefix="silvermetal-gpg-") as name:
        home = Path(name)
        try:
            imported = subprocess.run(
                ["gpg", "--homedir", name, "--batch", "--no-autostart", "--quiet", "--import", str(file)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except FileNotFoundError:
            raise PinningError(
                f"{ref} is signed by OpenPGP: expected the program gpg on the master, got none"
            ) from None
        if imported.returncode != 0:
            said = printable(imported.stderr.decode(errors="replace"), 300)
            raise PinningError(f"{file}: expected OpenPGP keys, got what gpg does not import: {said}")
        done = _git(mirror, "verify-tag", "--raw", tag, home=home, check=False)
    said = done.stderr.decode(errors="replace")
    good, valid = _PGP_GOOD.findall(said), _PGP_VALID.findall(said)
    if done.returncode != 0 or len(good) != 1 or len(valid) != 1:
        raise _refused(ref, "openpgp", done)
    key, primary = valid[0]
    return good[0], key, primary


def check_tag(mirror: Path, ref: str, commit: str, *, signers: Path, policy: SignedTags) -> TagSeen:
    """Check the tag ``ref``, which the mirror has under ``refs/silvermetal/``. :raises PinningError: when refused."""
    local = f"refs/silvermetal/{ref}"
    tag, peeled = (
        _git(mirror, "rev-parse", "--verify", name).stdout.decode().strip() for name in (local, f"{local}^{{commit}}")
    )
    if peeled != commit:
        raise PinningError(f"{ref}: expected commit {commit}, got {peeled}: the tag was moved meanwhile")
    if _git(mirror, "cat-file", "-t", tag).stdout.strip() != b"tag":
        if policy is SignedTags.REQUIRED:
            raise PinningError(f"{ref}: expected a signed tag (policy.signed_tags), got a lightweight one")
        return TagSeen(object=tag, annotated=False)
    data = _git(mirror, "cat-file", "tag", tag).stdout
    kind = _kind(data)
    if policy is SignedTags.OFF:
        return TagSeen(object=tag, annotated=True)
    if kind is None:
        if policy is SignedTags.REQUIRED:
            raise PinningError(f"{ref}: expected a signed tag (policy.signed_tags), got an unsigned one")
        return TagSeen(object=tag, annotated=True)
    name = _headers(data).get("tag", "")
    if f"refs/tags/{name}" != ref:
        raise PinningError(
            f"{ref}: expected a tag object of this name, got the signed one of {printable(name, 100)} under it"
        )
    if kind == "x509":
        raise PinningError(f"{ref}: expected a signature by SSH or OpenPGP, got one by X.509, which is not supported")
    who, key = (_check_ssh if kind == "ssh" else _check_openpgp)(mirror, ref, tag, signers)
    facts = {"object": tag, "annotated": True, "signature": kind, "signer": printable(who, 200), "key": key}
    try:
        return TagSeen.from_plain(facts, what=f"signature of {ref}")
    except ProofError as error:
        raise PinningError(str(error)) from None
