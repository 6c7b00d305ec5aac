"""The repository, the tag, the container engine and names: gone before or in the middle of a build."""

from __future__ import annotations

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.faulty import Faulty

pytestmark = pytest.mark.system


def test_tag_is_deleted_before_it_is_pinned(faults: Faulty) -> None:
    faults.strike_at("v5-deleted-early", "before-Pin")
    faults.git("push", "--quiet", "origin", ":refs/tags/v5-deleted-early")
    faults.holds.clear()
    assert faults.ends("v5-deleted-early") is None
    faults.sound(next_tag="v5-deleted-early-next")


def test_tag_is_deleted_in_mid_build(faults: Faulty) -> None:
    """The pinned commit decides, and it is still on the branch."""
    faults.strike_at("v5-deleted", "before-Build")
    faults.git("push", "--quiet", "origin", ":refs/tags/v5-deleted")
    faults.holds.clear()
    verdict = faults.ends("v5-deleted")
    assert verdict is not None and verdict.outcome is Outcome.REPRODUCED
    faults.sound(next_tag="v5-deleted-next")


def test_repository_is_gone_before_the_checkout(faults: Faulty) -> None:
    faults.strike_at("v5-gone", "after-Pin")
    away = faults.repository.with_name("away.git")
    faults.repository.rename(away)
    try:
        faults.holds.clear()
        verdict = faults.ends("v5-gone")
        assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
        assert "checkout" in str(verdict.reasons)
    finally:
        away.rename(faults.repository)
    faults.sound(next_tag="v5-gone-next")


def test_engine_is_down(faults: Faulty) -> None:
    settings = faults.workers["host-b"].directory / "worker.toml"
    whole = settings.read_text()
    settings.write_text(whole.replace(faults.engine, "unix:///run/no-such-engine.sock"))
    try:
        faults.push_tag("v5-engine")
        verdict = faults.ends("v5-engine")
        assert verdict is not None and verdict.outcome is Outcome.INCOMPLETE
        assert "host-b" in str(verdict.reasons)
    finally:
        settings.write_text(whole)
    faults.sound(next_tag="v5-engine-next")
