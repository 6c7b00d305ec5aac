"""derivative-maker's call: a golden text per tag, each refusal with file and line, what is believed of upstream."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from silvermetal_proof import ProofError
from silvermetal_proof.derivative_maker import (
    changelog_epoch,
    effective_epoch,
    failures,
    policy,
    read_settings,
    render,
    scope,
    submodules,
)
from silvermetal_proof.derivative_maker.call import SOURCES_FILE, info, version_of
from silvermetal_proof.derivative_maker.epoch import check_epoch
from silvermetal_proof.derivative_maker.settings import lock_bytes
from silvermetal_proof.derivative_maker.tags import TAGS
from silvermetal_proof.pins import PackageLock, SnapshotLock, parse_recipe, read_lock
from silvermetal_proof.pins.pins import Upstream, make_pins, snapshot_lock

from tests.support.upstream import ARCHIVE, ROOT, SETTINGS, SNAPSHOT, TAG
from tests.support.upstream import CONF as CONF_BYTES

CONF = CONF_BYTES.decode()
COMMIT = "0123456789ab" + "c" * 28
GOLDEN = (
    "./derivative-maker --flavor kicksecure-cli --target iso --arch amd64 --freedom false --freshness current "
    "--repo false --remote-derivative-packages false --tb none --retry-max 0 --interactive false --hostname localhost"
)
IMAGE = b"BUILDER_IMAGE=sha256:" + b"a" * 64 + b"\n"


@pytest.mark.parametrize("tag", sorted(TAGS))
def test_the_call_of_each_tag_is_the_golden_one(tag: str) -> None:
    call = render(read_settings(CONF.replace(TAG, tag).encode(), SNAPSHOT), "1.2.3", ARCHIVE)
    assert " ".join(call.argv) == GOLDEN
    assert call.environment == {
        "APPROX_PROXY_ENABLE": "no",
        "CI": "true",
        "MKSQUASHFS_OPTIONS": "-b 1M -Xdict-size 100%",
        "SHORT_VMNAME": "SilverMetal",
        "SKIP_SCRIPTS": " prepare-release ",
        "build_skip_run_functions": "download_tpo_packages download_packages_from_debian_sid",
        "dist_build_interactive": "false",
        "dist_build_sources_list_primary": SOURCES_FILE,
        "dist_build_type_short_pretty": "SilverMetal",
        "dist_build_version": "1.2.3",
        "project_clearnet": "silvermetal.example",
    }
    assert call.iso == "1.2.3/SilverMetal-CLI-1.2.3.Intel_AMD64.iso"
    assert call.cache.splitlines()[:2] == [
        f"debian-20260720T082444Z {ARCHIVE}/debian/20260720T082444Z",
        f"debian-security-20260720T082444Z {ARCHIVE}/debian-security/20260720T082444Z",
    ]
    assert not call.systemd


def test_a_flavor_that_upstream_only_tries_under_ci_is_not_told_of_it() -> None:
    call = render(read_settings(CONF.replace("kicksecure-cli", "kicksecure-lxqt").encode(), SNAPSHOT), "1", ARCHIVE)
    assert "CI" not in call.environment and call.environment["dist_build_interactive"] == "false"
    assert call.iso == "1/SilverMetal-LXQt-1.Intel_AMD64.iso"


def test_the_tag_that_is_pinned_has_a_place_for_excludes_and_the_newer_one_has_none() -> None:
    assert render(SETTINGS, "1", ARCHIVE).excludes == "1/live-build/config/rootfs/excludes"
    assert TAGS["18.2.2.1-developers-only"].excludes is None


def test_the_version_is_upstreams_and_our_commits() -> None:
    assert version_of(SETTINGS, COMMIT) == "18.2.1.9-0123456789ab"
    with pytest.raises(ProofError, match="commit: expected 40 hex digits"):
        version_of(SETTINGS, "main")


def test_the_sources_stand_in_the_order_that_upstream_parses_and_name_no_host() -> None:
    lines = render(SETTINGS, "1", ARCHIVE).sources.splitlines()
    base = "URIs: http://127.0.0.1:9977"
    assert [line for line in lines if line.startswith("URIs:")] == [
        f"{base}/debian-20260720T082444Z/",
        f"{base}/debian-security-20260720T082444Z/",
    ]
    assert next(line for line in lines if line.startswith("Suites:")).split()[1] == "trixie"
    assert lines.count("Check-Valid-Until: no") == 2
    assert "archive.example" not in "".join(lines)


@pytest.mark.parametrize("archive", ["", "https://archive.example/", "ftp://x/y", "https://a b", "https://a/$(id)"])
def test_an_archive_that_is_none_is_refused(archive: str) -> None:
    with pytest.raises(ProofError, match="archive of snapshots: expected https://host/path"):
        render(SETTINGS, "1", archive)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "DERIVATIVE_FREEDOM=false\n",
            "",
            "silvermetal-base.conf: DERIVATIVE_FREEDOM: expected true|false, got no such",
        ),
        ("DERIVATIVE_FREEDOM=false", "DERIVATIVE_FREEDOM=no", "silvermetal-base.conf:13: DERIVATIVE_FREEDOM: expected"),
        ("kicksecure-cli\n", "silvermetal-base\n", "DERIVATIVE_FLAVOR: expected kicksecure-cli|kicksecure-lxqt, got"),
        (TAG, "18.2.2.0", "DERIVATIVE_MAKER_TAG: expected"),
        ("BRAND_NAME=", "BRAND_NAMES=", "unknown key BRAND_NAMES"),
        ("BRAND_NAME=", "BRAND_NAME=x\nBRAND_NAME=", "BRAND_NAME stands twice"),
        ("BRAND_NAME=SilverMetal", "BRAND_NAME=Silver$METAL", "a plain value"),
        ("-b 1M", "-mkfs-time 0", "MKSQUASHFS_OPTIONS: expected"),
        ("-b 1M", "-all-root", "MKSQUASHFS_OPTIONS: expected"),
        ("-b 1M", "-no-xattrs", "MKSQUASHFS_OPTIONS: expected"),
        ("BRAND_NAME=", "HARDENING_LEVEL=2\nBRAND_NAME=", "the hardening overlays"),
        ("BRAND_NAME=", "SBOM=yes\nBRAND_NAME=", "the bill of materials"),
        ("BRAND_NAME=", "BRAND_WALLPAPER=x\nBRAND_NAME=", "branding beyond the name and the site"),
        ("BRAND_NAME=", "INSTALLER_BRAND=x\nBRAND_NAME=", "the installer's branding"),
        ("HOST_CORES=8", "HOST_CORES=many", "HOST_CORES: expected"),
    ],
)
def test_what_is_no_setting_of_the_base_is_refused_by_name(old: str, new: str, says: str) -> None:
    changed = CONF.replace(old, new, 1)
    assert changed != CONF
    for read in (lambda data: read_settings(data, SNAPSHOT), lambda data: parse_recipe(data, "silvermetal-base")):
        with pytest.raises(ProofError) as caught:
            read(changed.encode())
        assert says in str(caught.value)


@pytest.mark.parametrize("stamp", ["", "latest", "20260720", "2026-07-20T08:24:44Z"])
def test_a_timestamp_that_is_none_is_refused(stamp: str) -> None:
    with pytest.raises(ProofError, match=r"snapshot-pin\.env:1: SNAPSHOT_TIMESTAMP"):
        read_settings(CONF_BYTES, f"SNAPSHOT_TIMESTAMP={stamp}\nSUITE=trixie\n".encode())


@pytest.mark.parametrize(("snapshot", "says"), [
    (b"SNAPSHOT_TIMESTAMP=20260720T082444Z\n", "snapshot-pin.env: SUITE: expected trixie, got no such line"),
    (b"SNAPSHOT_TIMESTAMP=20260720T082444Z\nSUITE=sid\n", "snapshot-pin.env:2: SUITE: expected trixie, got sid"),
    (b"SNAPSHOT=20260720T082444Z\nSUITE=trixie\n", "snapshot-pin.env:1: unknown key SNAPSHOT"),
])  # fmt: skip
def test_another_snapshot_file_is_refused(snapshot: bytes, says: str) -> None:
    with pytest.raises(ProofError) as caught:
        read_settings(CONF_BYTES, snapshot)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["overlay/hardening.conf", "sbom.json", "grub/splash.svg", "hooks/50-update-server"])
def test_a_file_of_a_later_milestone_is_refused_and_told_where_it_belongs(name: str) -> None:
    with pytest.raises(
        ProofError, match=r"out of the base derivative's scope .*: expected it in the recipe of a later"
    ):
        scope.check_files(["build", name])
    recipe = ROOT / "scripts" / "recipes" / "silvermetal-base"
    scope.check_files(str(path.relative_to(recipe)) for path in recipe.rglob("*"))


def pins(**changes: bytes):
    recipe = parse_recipe(changes.get("conf", CONF_BYTES), "silvermetal-base")
    snapshot = changes.get("snapshot", SNAPSHOT)
    return make_pins(
        recipe=recipe,
        epoch=changes.get("epoch", b"SOURCE_DATE_EPOCH=\n"),
        image=IMAGE,
        commit_time=1700000000,
        lock="sha256:" + "0" * 64,
        snapshot=snapshot,
        upstream=Upstream("d" * 40, 1784070038),
    )


def test_the_three_files_make_the_pins_and_each_of_them_their_digest() -> None:
    made = pins()
    assert (made.snapshot, made.source_date_epoch) == ("20260720T082444Z", 1784070038)
    assert made.derivative_maker == "d" * 40 and made.settings["DERIVATIVE_MAKER_TAG"] == TAG
    others = [
        pins(snapshot=SNAPSHOT.replace(b"0720", b"0721")),
        pins(conf=CONF_BYTES.replace(b"FREEDOM=false", b"FREEDOM=true")),
    ]
    assert len({made.digest, *(p.digest for p in others)}) == 3


def test_an_epoch_that_upstream_would_overwrite_is_refused() -> None:
    assert pins(epoch=b"SOURCE_DATE_EPOCH=1784070038\n") == pins()
    with pytest.raises(ProofError, match=r"source-date-epoch\.env: .*no effect .*expected nothing, or 1784070038"):
        pins(epoch=b"SOURCE_DATE_EPOCH=1700000000\n")


def test_a_recipe_with_a_lock_has_the_pins_that_it_had() -> None:
    """Adding a recipe without a lock changes no digest of one with a lock: old releases stay verifiable."""
    recipe = parse_recipe(b'PACKAGES="hello"\n', "tiny")
    made = make_pins(recipe=recipe, epoch=b"", image=IMAGE, commit_time=1, lock="sha256:" + "0" * 64)
    assert b"snapshot" not in made.encode() and b"derivative_maker" not in made.encode()


def test_a_snapshot_stands_in_a_locks_place() -> None:
    lock = snapshot_lock(parse_recipe(CONF_BYTES, "silvermetal-base"), SNAPSHOT)
    assert lock.encode() == lock_bytes(SETTINGS)
    assert read_lock(lock.encode()) == lock and isinstance(lock, SnapshotLock)
    assert lock.value == "trixie 20260720T082444Z"
    for broken in (b'{"snapshot":"x"}', lock.encode() + b" ", lock.encode().replace(b"trixie", b"../x"), b"[]", b""):
        with pytest.raises(ProofError):
            read_lock(broken)


@given(st.binary(max_size=64))
def test_any_bytes_as_a_lock_end_in_a_lock_or_a_refusal(data: bytes) -> None:
    with contextlib.suppress(ProofError):
        assert isinstance(read_lock(data), PackageLock | SnapshotLock)


CHANGELOG = b"""derivative-maker (3:18.2.1.9-1) unstable; urgency=medium

  * Text with -- two dashes.

 -- Somebody <a@example.org>  Tue, 14 Jul 2026 23:00:38 +0000

derivative-maker (1) unstable; urgency=medium

 -- Somebody <a@example.org>  Mon, 01 Jan 2024 00:00:00 +0000
"""


def test_the_epoch_is_the_newest_entrys() -> None:
    assert changelog_epoch(CHANGELOG) == 1784070038
    assert changelog_epoch(CHANGELOG.replace(b"+0000", b"+0200")) == 1784070038 - 7200
    for broken in (b"", b"x", CHANGELOG[:40], CHANGELOG.replace(b"14 Jul 2026", b"99 Foo 2026")):
        with pytest.raises(ProofError, match="debian/changelog: expected an entry"):
            changelog_epoch(broken)
    assert check_epoch(None, 5, "x") == check_epoch(5, 5, "x") == 5


def volume(date: bytes = b"2026071423003800", zone: int = 0) -> bytes:
    sector = bytearray(2048)
    sector[:6] = b"\x01CD001"
    sector[830:847] = date + zone.to_bytes(1, "big", signed=True)
    return bytes(16 * 2048) + bytes(sector)


def test_the_effective_epoch_is_read_from_the_image_and_a_dummy_has_none() -> None:
    assert effective_epoch(volume()) == 1784070038
    assert effective_epoch(volume(zone=8)) == 1784070038 - 7200
    for none in (b"dummy\n", b"", volume(b"0" * 16), volume(b"2026-07-14 23:00"), volume()[:32768], bytes(40000)):
        assert effective_epoch(none) is None


def entry(mode: str, commit: str, path: str) -> bytes:
    return f"{mode} {'commit' if mode == '160000' else 'blob'} {commit}\t{path}\0".encode()


def test_gitlinks_are_read_and_each_has_one_declared_address() -> None:
    listing = entry("100644", "1" * 40, "README.md") + entry("160000", "2" * 40, "packages/a")
    assert submodules.gitlinks(listing, "derivative-maker") == {"derivative-maker/packages/a": "2" * 40}
    text = b"submodule.a.path\npackages/a\0submodule.a.url\nhttps://example.org/a\0core.x\ny\0"
    assert submodules.declared(text) == {"packages/a": "https://example.org/a"}
    submodules.check_declared({"a": "1"}, {"a": "u"}, "tree")
    with pytest.raises(ProofError, match=r"tree: b: expected a gitlink and a section .* got a gitlink alone"):
        submodules.check_declared({"b": "1"}, {}, "tree")
    with pytest.raises(ProofError, match="got a section alone"):
        submodules.check_declared({}, {"b": "u"}, "tree")
    with pytest.raises(ProofError, match="path and url"):
        submodules.declared(b"submodule.a.path\nx\0")
    for path in ("../x", "/x", "a/../b", "-x", "a b"):
        with pytest.raises(ProofError, match="path of a submodule"):
            submodules.gitlinks(entry("160000", "2" * 40, path))


@pytest.mark.parametrize(("mark", "says"), [
    ("+", "another commit is checked out"), ("-", "it is not fetched"), ("U", "it has conflicts"),
])  # fmt: skip
def test_a_tree_that_is_not_at_its_gitlinks_is_refused(mark: str, says: str) -> None:
    good = f" {'1' * 40} derivative-maker (v1)\n {'2' * 40} derivative-maker/live-build (heads/x)\n"
    assert submodules.check_status(good, {"derivative-maker": "1" * 40})["derivative-maker/live-build"] == "2" * 40
    with pytest.raises(ProofError, match=rf"submodule derivative-maker/live-build: expected its gitlink.*{says}"):
        submodules.check_status(good.replace(f" {'2' * 40}", f"{mark}{'2' * 40}"))
    with pytest.raises(ProofError, match="submodule derivative-maker: expected 3333"):
        submodules.check_status(good, {"derivative-maker": "3" * 40})
    with pytest.raises(ProofError, match="got no such submodule"):
        submodules.check_status("", {"derivative-maker": "3" * 40})
    with pytest.raises(ProofError, match="status of a submodule"):
        submodules.check_status("what\n")


def test_upstreams_policy_says_who_signs_and_our_commit_whose_key_counts() -> None:
    text = (
        b'version = 0\n[authorization."a"]\nsign_tag = true\nkeyring = "A"\n'
        b'[authorization."b"]\nsign_commit = true\nkeyring = "B"\n'
    )
    assert policy.tag_signers(text) == (policy.Signer("a", "A"),)
    for broken in (
        b"",
        b"version = 0\n",
        b"version = 1\n",
        b"\xff",
        b"= x",
        text.replace(b"sign_tag = true", b"x = 1"),
    ):
        with pytest.raises(ProofError, match=r"openpgp-policy\.toml"):
            policy.tag_signers(broken)
    policy.check_signature("v1", primary="A" * 40, pinned="A" * 40)
    with pytest.raises(ProofError, match=r"tag v1 .*expected the signature of A+ \(DERIVATIVE_MAKER_SIGNER\), got B"):
        policy.check_signature("v1", primary="B" * 40, pinned="A" * 40)
    with pytest.raises(ProofError, match=r"gitlink derivative-maker is not at v1: expected 2+ \(`scripts/bump-pin"):
        policy.check_commit("v1", gitlink="1" * 40, peeled="2" * 40)


@pytest.mark.parametrize(("log", "name"), [
    ("x\nERROR: This must NOT be run as root (sudo)!\n", "root"),
    ("unknown option (1): '--flavour'\n", "bad-flag"),
    ("When building '--arch amd64', you must select firmware. Add", "missing-freedom"),
    ("sudo: unable to resolve host x: Name or service not known\n", "host-name"),
    ("Wrong operating system!\n", "wrong-codename"),
    ("ERROR: Uncommitted changes in: main repo\n", "dirty-tree"),
    ("reprepro-refused: exit code 255: There have been errors!\nx: signature not made\n", "reprepro"),
    ("./derivative-maker: line 90: sq-git: command not found\n", "missing-tool"),
    ("missing-tool: the builder image has no reprepro\n", "missing-tool"),
    ("line 70: /dev/tty: No such device or address\n", "prompt"),
    ("swallowed: derivative-maker ended with 0 and left no x\n", "swallowed"),
    ("cp: error writing 'x': No space left on device", "disk-full"),
])  # fmt: skip
def test_each_known_failure_has_its_name(log: str, name: str) -> None:
    found = failures.explain(log.encode())
    assert found is not None and found.name == name and found.meaning


@pytest.mark.parametrize("log", [b"", b"all is well\n", b"\xff\xfe"])
def test_a_log_that_says_nothing_known_is_not_guessed_at(log: bytes) -> None:
    assert failures.explain(log) is None


def test_what_the_image_is_audited_against_has_live_builds_own_option() -> None:
    told = info(SETTINGS, render(SETTINGS, "1", ARCHIVE))
    assert told["MKSQUASHFS_OPTIONS"] == "-comp xz -b 1M -Xdict-size 100%"
    assert told["SNAPSHOT_TIMESTAMP"] == "20260720T082444Z"


def test_the_room_needs_pythons_own_library_alone() -> None:
    """build.sh renders with the host's own Python, which has no packages of ours."""
    script = (
        "import sys; sys.path.insert(0, 'proof'); import silvermetal_proof.derivative_maker.call\n"
        "from silvermetal_proof.derivative_maker import failures, policy, scope, submodules\n"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in ('pydantic', 'cryptography', 'securesystemslib')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
