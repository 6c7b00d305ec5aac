"""Our call against a real upstream checkout: DERIVATIVE_MAKER_TREE names its folder, at the tag that is pinned.

Rules:

- What the stand-in is believed for is asked of upstream here, by the same table: its parser, its use of the environment,
  its place for excludes, its policy and signature, its date.
- Without a tree each test says skipped, and why. The dry run needs a root file system of Debian 13 with the builder's
  packages too: DERIVATIVE_MAKER_ROOT names it (``mmdebstrap``, packages of docker/derivative-maker-packages.list).
- The tree is only read; what runs, runs in copies.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from silvermetal_master.mirror import Mirror, resolve_ref
from silvermetal_master.tag_signature import verify_openpgp
from silvermetal_master.upstream import read_tree
from silvermetal_proof.derivative_maker import changelog_epoch, policy, read_settings, render
from silvermetal_proof.derivative_maker.call import KEPT, version_of
from silvermetal_proof.derivative_maker.tags import TAGS
from silvermetal_proof.pins.pins import Upstream

from tests.support.upstream import ARCHIVE, CONF, GRAMMAR, SETTINGS, SNAPSHOT, STAND_IN, TAG, ask
from tests.unit.master.test_pinning import Repository

CALL = render(SETTINGS, version_of(SETTINGS, "a" * 40), ARCHIVE)


@pytest.fixture
def tree() -> Path:
    named = os.environ.get("DERIVATIVE_MAKER_TREE")
    if not named:
        pytest.skip("DERIVATIVE_MAKER_TREE names no checkout of derivative-maker")
    return Path(named)


def parsers() -> list[str]:
    return ["stand-in", "upstream"]


@pytest.fixture(params=parsers())
def either(request: pytest.FixtureRequest) -> Path:
    """The stand-in's tree and upstream's: what is believed of the one is asked of the other."""
    if request.param == "stand-in":
        return STAND_IN
    found: Path = request.getfixturevalue("tree")
    return found


@pytest.mark.parametrize(("call", "says"), GRAMMAR)
def test_the_parser_takes_and_refuses_as_the_table_says(either: Path, call: str, says: str) -> None:
    answer = ask(either, call.split())
    assert answer.taken == (not says), answer.said
    assert says in answer.said


def test_our_call_is_taken_and_is_no_dry_run(either: Path) -> None:
    answer = ask(either, CALL.argv[1:], ci=CALL.environment.get("CI") == "true")
    assert answer.taken and not answer.dry, answer.said


def test_under_ci_another_flavor_becomes_a_dry_run_and_ours_is_not_told_of_ci(either: Path) -> None:
    lxqt = render(read_settings(CONF.replace(b"kicksecure-cli", b"kicksecure-lxqt"), SNAPSHOT), "1", ARCHIVE)
    assert ask(either, lxqt.argv[1:], ci=True).dry
    assert not ask(either, lxqt.argv[1:], ci="CI" in lxqt.environment).dry


def test_without_freedom_our_call_is_refused(either: Path) -> None:
    words = [w for i, w in enumerate(CALL.argv[1:]) if "--freedom" not in (w, CALL.argv[i])]
    answer = ask(either, words)
    assert not answer.taken and "select firmware" in answer.said


def test_the_help_is_printed(tree: Path) -> None:
    done = subprocess.run(
        ["bash", "help-steps/parse-cmd", "--help"],
        cwd=tree,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # The parser as a command knows no list of architectures, which another file gives it; derivative-maker's own --help
    # calls it in this very way.
    assert "architecture_all_list" in done.stderr or done.returncode == 0, done.stderr
    if done.returncode == 0:
        for option in (
            "--flavor",
            "--target",
            "--arch",
            "--freedom",
            "--tb",
            "--retry-max",
            "--interactive",
            "--freshness",
        ):
            assert option in done.stdout


def source_of(tree: Path, *folders: str) -> str:
    places = folders or ("help-steps", "buildconfig.d", "build-steps.d")
    return "".join(p.read_text(errors="replace") for f in places for p in sorted((tree / f).iterdir()) if p.is_file())


def test_each_variable_that_we_export_is_read(tree: Path) -> None:
    text = source_of(tree) + (tree / "live-build/scripts/build/binary_rootfs").read_text()
    for name in CALL.environment:
        assert re.search(rf"\b{name}\b", text), name


def test_the_epoch_is_upstreams_and_is_the_date_that_we_pin(tree: Path) -> None:
    text = (tree / "help-steps/variables").read_text()
    assert 'SOURCE_DATE_EPOCH="$(dpkg-parsechangelog --show-field=Timestamp)"' in text
    assert changelog_epoch((tree / "debian/changelog").read_bytes()) > 1_700_000_000


def test_the_variable_that_sudo_must_keep_is_not_among_those_that_upstream_keeps(tree: Path) -> None:
    text = (tree / "help-steps/variables").read_text()
    start = text.index('env_vars_keep_list="')
    kept = text[start : text.index('"', start + 25)].split()
    assert "SOURCE_DATE_EPOCH" in kept and not set(KEPT) & set(kept)


def test_the_functions_that_are_skipped_are_run_by_that_name(tree: Path) -> None:
    text = (tree / "build-steps.d/2100_create-debian-packages").read_text()
    for name in CALL.environment["build_skip_run_functions"].split():
        assert re.search(rf"^ *build_run_function {name} ", text, re.MULTILINE), name


def test_systemd_is_called_for_the_package_cache_alone(tree: Path) -> None:
    assert not TAGS[TAG].systemd
    text = (tree / "build-steps.d/1200_prepare-build-machine").read_text()
    before, _, rest = text.partition("approx_proxy_setup() {")
    inside, _, after = rest.partition("\n}\n")
    assert 'if [ ! "${APPROX_PROXY_ENABLE:-}" = "yes" ]; then\n      return 0' in inside
    strays = [line for line in (before + after).splitlines() if "systemctl" in line and "|| true" not in line]
    assert strays == [] and "systemctl" not in source_of(tree, "build-steps.d").replace(text, "")


def test_the_excludes_reach_mksquashfs_from_where_we_put_them(tree: Path, tmp_path: Path) -> None:
    """Run with live-build itself: what is put below config/ before the first `lb clean` is there when it is read."""
    assert CALL.excludes is not None
    place = tmp_path / "live-build"
    (place / "config/rootfs").mkdir(parents=True)
    (place / "auto").mkdir()
    (place / "config/rootfs/excludes").write_text("etc/nvme/hostid\n")
    step = (tree / "build-steps.d/2800_create-lb-iso").read_text()
    assert 'dist_live_build_folder="${dist_binary_build_folder}/live-build"' in step
    assert "rootfs" not in step and "rm -rf" not in step
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LIVE_BUILD": str(tree / "live-build")}
    frontend = str(tree / "live-build/frontend/lb")
    for call in (["clean"], ["config", "noauto", "--distribution", "trixie"], ["clean"], ["config", "--validate"]):
        done = subprocess.run(
            ["bash", frontend, *call], cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"lb {call}: {done.stdout[-500:]}{done.stderr[-500:]}"
    assert (place / "config/rootfs/excludes").read_text() == "etc/nvme/hostid\n"
    stage = (tree / "live-build/scripts/build/binary_rootfs").read_text()
    assert 'MKSQUASHFS_OPTIONS="-wildcards -ef /excludes ${MKSQUASHFS_OPTIONS}"' in stage


def test_the_tag_is_signed_by_whom_we_pin_and_upstreams_policy_lets_sign(tree: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.asc"
    keys.write_text("\n".join(s.keyring for s in policy.tag_signers((tree / policy.FILE).read_bytes())))
    tag = subprocess.run(
        ["git", "-C", str(tree), "rev-parse", f"refs/tags/{TAG}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    ).stdout.strip()  # fmt: skip
    _, _, primary = verify_openpgp(tree / ".git", f"refs/tags/{TAG}", tag, keys)
    policy.check_signature(TAG, primary=primary, pinned=SETTINGS["DERIVATIVE_MAKER_SIGNER"])


def test_the_pin_step_takes_upstreams_tree_with_its_signature_and_every_submodule(tree: Path, tmp_path: Path) -> None:
    ours = Repository(tmp_path / "ours")
    commit = subprocess.run(
        ["git", "-C", str(tree), "rev-parse", f"refs/tags/{TAG}^{{commit}}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    ).stdout.strip()  # fmt: skip
    ours.write(".gitmodules", f'[submodule "derivative-maker"]\n\tpath = derivative-maker\n\turl = {tree}\n')
    ours.git("add", ".gitmodules")
    ours.git("update-index", "--add", "--cacheinfo", f"160000,{commit},derivative-maker")
    ours.git("commit", "--quiet", "-m", "the gitlink")
    mirror = Mirror(tmp_path / "mirror.git", ours.url)
    head = resolve_ref(ours.url, "refs/heads/main", None)
    mirror.fetch("refs/heads/main", head)
    found = read_tree(mirror, head, SETTINGS.values)
    assert found.pins == Upstream(commit, changelog_epoch((tree / "debian/changelog").read_bytes()))
    assert found.submodules["derivative-maker"] == commit
    assert {"derivative-maker/live-build", "derivative-maker/packages/kicksecure/genmkfile"} <= set(found.submodules)
