"""derivative-maker's call: a golden text per tag, each lever where it acts, each refusal with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from silvermetal_proof import ProofError
from silvermetal_proof.pins.derivative_maker import FRESHNESS, SOURCES_FILE, render

CONFIG = Path(__file__).parents[3] / "config"
CONF = (CONFIG / "silvermetal-base.conf").read_text()
PIN = "SNAPSHOT_TIMESTAMP=20260720T082444Z\nSUITE=trixie\n"
ARCHIVE = "https://archive.example/snapshots"
GOLDEN = (
    "./derivative-maker --flavor kicksecure-cli --target iso --arch amd64 --freedom false --freshness current "
    "--repo false --remote-derivative-packages false --tb none --retry-max 0 --interactive false --hostname localhost"
)


@pytest.mark.parametrize("tag", sorted(FRESHNESS))
def test_the_call_of_each_tag_is_the_golden_one(tag: str) -> None:
    call = render(CONF.replace("18.2.1.9-developers-only", tag).encode(), PIN.encode(), "1.2.3", ARCHIVE)
    assert " ".join(call.argv) == GOLDEN
    assert call.environment == {
        "CI": "true",
        "SHORT_VMNAME": "SilverMetal",
        "SKIP_SCRIPTS": " prepare-release ",
        "build_skip_run_functions": "download_tpo_packages",
        "dist_build_interactive": "false",
        "dist_build_sources_list_primary": SOURCES_FILE,
        "dist_build_type_short_pretty": "SilverMetal",
        "dist_build_version": "1.2.3",
        "project_clearnet": "silvermetal.example",
    }


def test_the_snapshot_arrives_in_the_order_that_upstream_parses() -> None:
    lines = render(CONF.encode(), PIN.encode(), "1", ARCHIVE).sources.splitlines()
    uris = [line for line in lines if line.startswith("URIs:")]
    base = f"URIs: {ARCHIVE}"
    assert uris == [f"{base}/debian/20260720T082444Z/", f"{base}/debian-security/20260720T082444Z/"]
    assert next(line for line in lines if line.startswith("Suites:")).split()[1] == "trixie"
    assert lines.count("Check-Valid-Until: no") == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("DERIVATIVE_FREEDOM=false\n", "", "silvermetal-base.conf: DERIVATIVE_FREEDOM"),
        ("DERIVATIVE_FREEDOM=false", "DERIVATIVE_FREEDOM=no", "silvermetal-base.conf:11: DERIVATIVE_FREEDOM"),
        ("kicksecure-cli\n", "silvermetal-base\n", "DERIVATIVE_FLAVOR"),
        ("BRAND_NAME=", "BRAND_NAMES=", "unknown key BRAND_NAMES"),
        ("BRAND_NAME=", "HARDENING_LEVEL=2\nBRAND_NAME=", "the hardening overlays"),
        ("BRAND_NAME=", "SBOM=yes\nBRAND_NAME=", "the bill of materials"),
        ("BRAND_NAME=", "MKSQUASHFS_OPTIONS=x\nBRAND_NAME=", "unknown key MKSQUASHFS_OPTIONS"),
    ],
)
def test_what_is_no_setting_of_the_base_is_refused_by_name(old: str, new: str, says: str) -> None:
    changed = CONF.replace(old, new, 1)
    assert changed != CONF
    with pytest.raises(ProofError) as caught:
        render(changed.encode(), PIN.encode(), "1", ARCHIVE)
    assert says in str(caught.value)


@pytest.mark.parametrize("stamp", ["", "latest", "20260720", "2026-07-20T08:24:44Z"])
def test_a_timestamp_that_is_none_is_refused(stamp: str) -> None:
    with pytest.raises(ProofError, match=r"snapshot-pin\.env:1: SNAPSHOT_TIMESTAMP"):
        render(CONF.encode(), f"SNAPSHOT_TIMESTAMP={stamp}\nSUITE=trixie\n".encode(), "1", ARCHIVE)
