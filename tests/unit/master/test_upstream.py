"""The pin step and derivative-maker's tree: the gitlink, upstream's tag, upstream's policy, a real OpenPGP signature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror, resolve_ref
from silvermetal_master.pinning import Pinned, pin

from tests.support.upstream import SNAPSHOT, STAND_IN, TAG, Signer, Upstream, add_submodule, conf_for, has
from tests.unit.master.test_pinning import IMAGE, Repository

RECIPE = "silvermetal-base"
EPOCH = 1784070038


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    if not has("gpg"):
        pytest.skip("gpg is not installed")
    made = Signer(tmp_path_factory.mktemp("gpg"))
    yield made
    made.close()


class World:
    """Our repository with the recipe, upstream's with the stand-in, and the gitlink from the one to the other."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.folder = folder
        self.upstream = Upstream(folder / "upstream", signer)
        self.ours = Repository(folder / "repository")
        self.ours.write(f"config/{RECIPE}.conf", conf_for(signer))
        self.ours.write("config/snapshot-pin.env", SNAPSHOT.decode())
        self.link()

    def link(self) -> None:
        add_submodule(self.ours.path, self.upstream)
        self.ours.git("add", "config")
        self.ours.git("commit", "--quiet", "-m", "the recipe")

    def pin(self) -> Pinned:
        commit = resolve_ref(self.ours.url, "refs/heads/main", None)
        (self.folder / "out").mkdir(exist_ok=True)
        mirror = Mirror(self.folder / "mirror.git", self.ours.url)
        return pin(mirror=mirror, ref="refs/heads/main", commit=commit, recipe_name=RECIPE, folder=self.folder / "out")

    def refused(self, match: str) -> None:
        with pytest.raises(PinningError, match=match):
            self.pin()


@pytest.fixture
def world(tmp_path: Path, signer: Signer) -> World:
    return World(tmp_path, signer)


def test_the_tree_is_pinned_with_its_date_and_every_submodule(world: World) -> None:
    nested = "5" * 40
    world.upstream.write(
        ".gitmodules", '[submodule "live-build"]\n\tpath = live-build\n\turl = https://example.org/x\n'
    )
    world.upstream.git("update-index", "--add", "--cacheinfo", f"160000,{nested},live-build")
    (world.upstream.path / "live-build").mkdir()
    world.upstream.release()
    world.link()
    pinned = world.pin()
    expected = pinned.expected_inputs()
    assert pinned.pins.source_date_epoch == EPOCH
    assert pinned.pins.derivative_maker == world.upstream.commit
    assert expected["submodule derivative-maker"] == world.upstream.commit
    assert expected["submodule derivative-maker/live-build"] == nested
    assert expected["debian snapshot"] == "trixie 20260720T082444Z"
    assert expected["BUILD_INFO EFFECTIVE_SOURCE_DATE_EPOCH"] == str(EPOCH)
    assert expected["builder image"] == IMAGE[-71:]
    assert pinned.inputs == "packages of the snapshot trixie 20260720T082444Z"


def test_a_gitlink_that_is_not_the_tags_commit_is_refused(world: World) -> None:
    world.upstream.write("more", "x")
    newer = world.upstream.release()
    world.refused(f"gitlink derivative-maker is not at {TAG}: expected {newer} .*bump-pin")


def test_a_tag_that_is_not_there_is_refused(world: World) -> None:
    world.upstream.git("tag", "--delete", TAG)
    world.refused(f"refs/tags/{TAG}: expected it in .*, got no such ref")


def test_an_unsigned_tag_is_refused(world: World) -> None:
    world.upstream.git("tag", "--force", "-a", "-m", "x", TAG)
    world.refused("expected a signature by one of the allowed signers")


def test_a_strangers_tag_is_refused_even_where_the_tree_lets_him_sign(world: World, tmp_path: Path) -> None:
    stranger = Signer(tmp_path, "Mallory <mallory@example.org>")
    try:
        world.upstream.release(signer=stranger)
        world.link()
        world.refused("expected a signature by one of the allowed signers, got one")
        # The policy comes with the tree, and the tree is the stranger's: it is our commit's key that counts.
        world.upstream.write("buildconfig.d/openpgp-policy.toml", stranger.policy())
        world.upstream.release(signer=stranger)
        world.link()
        world.refused(rf"expected the signature of [0-9A-F]+ \(DERIVATIVE_MAKER_SIGNER\), got {stranger.fingerprint}")
    finally:
        stranger.close()


def test_a_signer_whom_upstreams_policy_does_not_let_sign_is_refused(world: World, signer: Signer) -> None:
    world.upstream.write("buildconfig.d/openpgp-policy.toml", signer.policy(sign_tag=False))
    world.upstream.release()
    world.link()
    world.refused("expected somebody with sign_tag = true and a keyring, got nobody")


@pytest.mark.parametrize(("name", "says"), [
    ("buildconfig.d/openpgp-policy.toml", "openpgp-policy.toml: expected upstream's signing policy"),
    ("debian/changelog", "debian/changelog: expected it in derivative-maker"),
])  # fmt: skip
def test_a_tree_that_lacks_a_file_is_refused(world: World, name: str, says: str) -> None:
    (world.upstream.path / name).unlink()
    world.upstream.release()
    world.link()
    world.refused(says)


def test_a_commit_without_the_submodule_is_refused(world: World) -> None:
    world.ours.git("rm", "--quiet", "--cached", "derivative-maker")
    world.ours.git("commit", "--quiet", "-m", "no gitlink")
    world.refused("the commit's tree: derivative-maker: expected a gitlink and a section .* got a section alone")
    world.ours.git("rm", "--quiet", ".gitmodules")
    world.ours.git("commit", "--quiet", "-m", "nothing")
    world.refused("derivative-maker: expected it as a submodule at commit")


@pytest.mark.parametrize(
    "url", ["git@example.org:x.git", "http://example.org/x", "ext::sh -c id", "--upload-pack=x", "../x"]
)
def test_an_address_that_is_not_https_is_refused(world: World, url: str) -> None:
    text = f'[submodule "derivative-maker"]\n\tpath = derivative-maker\n\turl = "{url}"\n'
    world.ours.write(".gitmodules", text)
    world.ours.git("add", ".gitmodules")
    world.ours.git("commit", "--quiet", "-m", "elsewhere")
    world.refused(r"\.gitmodules: derivative-maker: expected an address https://")


@pytest.mark.parametrize(("name", "text", "says"), [
    ("config/snapshot-pin.env", "SNAPSHOT_TIMESTAMP=\nSUITE=trixie\n", r"snapshot-pin\.env:1: SNAPSHOT_TIMESTAMP"),
    ("config/source-date-epoch.env", "SOURCE_DATE_EPOCH=1700000000\n", r"source-date-epoch\.env: SOURCE_DATE_EPOCH has no"),
])  # fmt: skip
def test_what_is_no_pin_is_refused(world: World, name: str, text: str, says: str) -> None:
    world.ours.write(name, text)
    world.link()
    world.refused(says)


def test_the_stand_in_names_the_tag_that_is_pinned() -> None:
    assert f"({'3:' + TAG.removesuffix('-developers-only')}-1)" in (STAND_IN / "debian/changelog").read_text()
