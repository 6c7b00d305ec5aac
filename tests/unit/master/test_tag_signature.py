"""Tags and who signed them, with real git, ssh-keygen and gpg: each kind of tag has the outcome of docs/trust-model.md."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror, resolve_ref
from silvermetal_master.tag_signature import SignedTags, check_tag
from silvermetal_proof.verdict import TagSeen

from tests.unit.master.test_pinning import Repository

ALICE, STRANGER = "alice@example.org", "mallory@example.org"


def _run(*argv: str, **env: str) -> str:
    done = subprocess.run(
        argv, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    return done.stdout.decode()


class World:
    """A repository, SSH keys of one allowed signer and of a stranger, and the master's folder of signers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repository = Repository(path / "repository")
        self.signers = path / "signers"
        self.signers.mkdir()
        for who in (ALICE, STRANGER):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", str(path / who))
        self.allow(ALICE)

    def allow(self, *names: str) -> None:
        lines = [f"{n} {(self.path / f'{n}.pub').read_text()}" for n in names]
        (self.signers / "allowed_signers").write_text("".join(lines))

    def sign(self, name: str, who: str = ALICE, target: str = "HEAD") -> None:
        key = str(self.path / who)
        self.repository.git(
            "-c", "gpg.format=ssh", "-c", f"user.signingKey={key}", "tag", "-s", "-m", name, name, target
        )

    def check(self, name: str, policy: SignedTags = SignedTags.WHEN_PRESENT, number: int = 0) -> tuple[str, TagSeen]:
        """As the pin step does: resolve, fetch, check."""
        ref = f"refs/tags/{name}"
        commit = resolve_ref(self.repository.url, ref, None)
        mirror = Mirror(self.path / f"mirror-{number}.git", self.repository.url)
        mirror.fetch(ref, commit)
        return commit, check_tag(mirror.path, ref, commit, signers=self.signers, policy=policy)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("policy", [SignedTags.REQUIRED, SignedTags.WHEN_PRESENT])
def test_a_tag_signed_by_an_allowed_ssh_key_names_its_signer(world: World, policy: SignedTags) -> None:
    world.sign("v1")
    commit, facts = world.check("v1", policy)
    assert commit == world.repository.first
    assert (facts.signature, facts.signer) == ("ssh", ALICE)
    assert facts.key in _run("ssh-keygen", "-lf", str(world.path / f"{ALICE}.pub"))
    assert facts.object == world.repository.git("rev-parse", "refs/tags/v1") != commit


@pytest.mark.parametrize("policy", [SignedTags.REQUIRED, SignedTags.WHEN_PRESENT])
def test_a_strangers_signature_is_refused(world: World, policy: SignedTags) -> None:
    world.sign("v1", STRANGER)
    with pytest.raises(PinningError, match="refs/tags/v1: expected a signature by one of the allowed signers"):
        world.check("v1", policy)


def test_who_may_sign_is_asked_of_the_settings_and_not_of_the_tree(world: World) -> None:
    own = f"{STRANGER} {(world.path / f'{STRANGER}.pub').read_text()}"
    for name in ("allowed_signers", "signers/allowed_signers", ".gitconfig"):
        world.repository.write(name, own)
    world.repository.commit("the stranger is allowed, says the tree")
    world.sign("v1", STRANGER)
    with pytest.raises(PinningError, match="expected a signature by one of the allowed signers"):
        world.check("v1")


@pytest.mark.parametrize("annotated", [True, False])
def test_an_unsigned_tag_is_refused_where_policy_says_so_and_built_elsewhere(world: World, annotated: bool) -> None:
    world.repository.git("tag", *(("-a", "-m", "one") if annotated else ()), "v1")
    for policy in (SignedTags.WHEN_PRESENT, SignedTags.OFF):
        commit, facts = world.check("v1", policy)
        assert (commit, facts.annotated, facts.signer) == (world.repository.first, annotated, None)
    with pytest.raises(PinningError, match=r"expected a signed tag \(policy.signed_tags\), got"):
        world.check("v1", SignedTags.REQUIRED)


def test_off_looks_at_no_signature(world: World) -> None:
    world.sign("v1", STRANGER)
    assert world.check("v1", SignedTags.OFF)[1].signer is None


def test_a_signed_tag_under_another_name_is_refused(world: World) -> None:
    world.sign("v1")
    world.repository.git("update-ref", "refs/tags/v2", world.repository.git("rev-parse", "refs/tags/v1"))
    with pytest.raises(
        PinningError, match="refs/tags/v2: expected a tag object of this name, got the signed one of v1"
    ):
        world.check("v2")


def test_of_a_tag_of_a_tag_the_outer_one_is_checked(world: World) -> None:
    world.sign("v1")
    world.repository.git("tag", "-a", "-m", "outer", "v2", "v1")
    with pytest.raises(PinningError, match="got an unsigned one"):
        world.check("v2", SignedTags.REQUIRED)
    world.sign("v3", STRANGER, "v1")
    with pytest.raises(PinningError, match="allowed signers"):
        world.check("v3")
    world.repository.git("tag", "-a", "-m", "inner", "v4")
    world.sign("v5", ALICE, "v4")
    assert world.check("v5", SignedTags.REQUIRED)[0] == world.repository.first


def test_an_altered_tag_object_is_refused(world: World) -> None:
    world.sign("v1")
    second = world.repository.commit("second")
    raw = world.repository.git("cat-file", "tag", "v1").replace(world.repository.first, second) + "\n"
    made = subprocess.run(
        ["git", "hash-object", "-t", "tag", "-w", "--stdin"],
        cwd=world.repository.path, input=raw.encode(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    world.repository.git("update-ref", "refs/tags/v1", made.stdout.decode().strip())
    with pytest.raises(PinningError, match="git refused"):
        world.check("v1")


def test_a_tag_on_an_old_commit_is_that_commit(world: World) -> None:
    world.repository.commit("second")
    world.sign("v1", ALICE, world.repository.first)
    assert world.check("v1")[0] == world.repository.first


def test_a_deleted_tag_is_refused(world: World) -> None:
    world.sign("v1")
    world.repository.git("tag", "-d", "v1")
    with pytest.raises(PinningError, match="got no such ref; it may have been deleted"):
        world.check("v1")


def test_a_tag_that_moves_between_resolving_and_fetching_is_refused(world: World) -> None:
    world.sign("v1")
    commit = resolve_ref(world.repository.url, "refs/tags/v1", None)
    world.repository.commit("second")
    world.repository.git("tag", "-d", "v1")
    world.sign("v1")
    mirror = Mirror(world.path / "mirror.git", world.repository.url)
    mirror.fetch("refs/tags/v1", commit)
    with pytest.raises(PinningError, match="the tag was moved meanwhile"):
        check_tag(mirror.path, "refs/tags/v1", commit, signers=world.signers, policy=SignedTags.WHEN_PRESENT)


def test_h9_a_signed_tag_beside_a_branch_of_its_name(world: World) -> None:
    world.repository.git("branch", "v1")
    second = world.repository.commit("second")
    world.sign("v1")
    assert world.check("v1")[0] == second


def test_twenty_tags_at_once(world: World) -> None:
    commits = {}
    for number in range(20):
        commits[f"v{number}"] = world.repository.commit(f"commit {number}")
        world.sign(f"v{number}")
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(commits, pool.map(lambda n: world.check(n, number=int(n[1:])), commits), strict=True))
    assert {name: commit for name, (commit, _) in found.items()} == commits
    assert {facts.signer for _, facts in found.values()} == {ALICE}


def test_without_a_file_of_signers_the_refusal_says_where_it_goes(world: World) -> None:
    world.sign("v1")
    (world.signers / "allowed_signers").unlink()
    with pytest.raises(PinningError, match=r"expected the allowed signers in .*signers/allowed_signers, got no such"):
        world.check("v1")


# OpenPGP


@pytest.fixture
def gnupg(tmp_path: Path) -> Iterator[Path]:
    """A home with a key of the allowed signer and one of a stranger; its agent ends with it."""
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    for who in (ALICE, STRANGER):
        _run("gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--quick-gen-key", who, "ed25519", "sign")
    yield home
    _run("gpgconf", "--homedir", str(home), "--kill", "all")


def test_openpgp_the_allowed_key_holds_and_a_strangers_does_not(
    world: World, gnupg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(gnupg))
    for name, who in (("v1", ALICE), ("v2", STRANGER)):
        world.repository.git("-c", f"user.signingKey={who}", "tag", "-s", "-m", name, name)
    with pytest.raises(PinningError, match=r"expected the allowed keys in .*openpgp.asc, got no such file"):
        world.check("v1")
    exported = _run("gpg", "--homedir", str(gnupg), "--armor", "--export", ALICE)
    (world.signers / "openpgp.asc").write_text(exported)
    facts = world.check("v1", SignedTags.REQUIRED)[1]
    assert (facts.signature, facts.signer) == ("openpgp", ALICE)
    assert facts.key in _run("gpg", "--homedir", str(gnupg), "--with-colons", "--list-keys", ALICE)
    with pytest.raises(PinningError, match="allowed signers"):
        world.check("v2")


def test_openpgp_keys_that_are_none_are_named(world: World, gnupg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNUPGHOME", str(gnupg))
    world.repository.git("-c", f"user.signingKey={ALICE}", "tag", "-s", "-m", "v1", "v1")
    (world.signers / "openpgp.asc").write_text("no key\n")
    with pytest.raises(PinningError, match=r"openpgp.asc: expected OpenPGP keys"):
        world.check("v1")
