"""Hosts that hold their own key and password and lie in what they send, against the real master."""

from __future__ import annotations

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile

pytestmark = pytest.mark.system


def test_baseline_two_hosts_that_tell_one_story_are_believed(service: Hostile) -> None:
    """Without it, every attack below could fail for a reason of its own."""
    verdict = service.judge("v0")
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    assert verdict.level == 2


def test_nonce_of_the_sibling(service: Hostile) -> None:
    service.refused(
        "v1",
        Outcome.INVALID,
        "host-b: statement of host-b: nonce: expected",
        "got 000000",
        host_b="def says(s, order): s['predicate']['silvermetal_nonce'] = '0' * 64",
    )
