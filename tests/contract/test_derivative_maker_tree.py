"""Our call against a real upstream checkout: DERIVATIVE_MAKER_TREE names its folder.

Rules:

- Reads upstream's own parser; without a tree the test says skipped, and why. It does not run the parser yet.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from silvermetal_proof.pins.derivative_maker import render

CONF = (Path(__file__).parents[2] / "config" / "silvermetal-base.conf").read_bytes()
PIN = b"SNAPSHOT_TIMESTAMP=20260720T082444Z\nSUITE=trixie\n"
ARCHIVE = "https://archive.example/snapshots"


@pytest.fixture
def tree() -> Path:
    named = os.environ.get("DERIVATIVE_MAKER_TREE")
    if not named:
        pytest.skip("DERIVATIVE_MAKER_TREE names no checkout of derivative-maker")
    return Path(named)


def test_upstreams_parser_has_a_branch_for_each_of_our_options(tree: Path) -> None:
    parser = (tree / "help-steps" / "parse-cmd").read_text()
    known = set(re.findall(r"^\s+(--[a-z-]+)\)", parser, re.MULTILINE))
    ours = {word for word in render(CONF, PIN, "1", ARCHIVE).argv if word.startswith("--")}
    assert ours and not ours - known
    assert "--flavour" not in known


def test_upstream_reads_each_variable_that_we_export(tree: Path) -> None:
    folders = ("help-steps", "buildconfig.d", "build-steps.d")
    text = "".join(p.read_text(errors="replace") for f in folders for p in (tree / f).iterdir() if p.is_file())
    for name in render(CONF, PIN, "1", ARCHIVE).environment:
        assert re.search(rf"\b{name}\b", text), name
