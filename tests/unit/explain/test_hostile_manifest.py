"""A manifest or an excerpt of another host is hostile input: it ends in the documented error or in a report."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from silvermetal_explain import excerpts, recorded
from silvermetal_explain.compare import Comparer
from silvermetal_explain.diagnosis import diagnose
from silvermetal_explain.errors import ExplainError
from silvermetal_explain.image.opening import open_iso
from silvermetal_explain.image.source import FileSource
from silvermetal_explain.limits import Limits
from silvermetal_explain.manifest import make
from silvermetal_explain.report import document, page

LIMITS = Limits(memory=4 << 30, entries=50_000)
ROUNDS = int(os.environ.get("SILVERMETAL_FUZZ_ROUNDS", "90"))
FIRST = int(os.environ.get("SILVERMETAL_FUZZ_FIRST", "1700"))  # 1782 put an infinity where a piece begins
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 7, 2**31, 2**63, -(2**70), 1.5, float("inf"), "", "x", "\0", "/", "..", "é", "\ud800", "9" * 4000,
    "a → b", [], [[]], [0], [None] * 13, {}, {"a": 1}, "AAAA", [0, "AAAA"], [5, "!"], [-9, "AA=="], [1e400, ""],
)  # fmt: skip


def spots(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container and key within."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found.append((value, key))
        spots(value[key], found)
    return found


def mutate(value: Any, random_: random.Random) -> None:
    """Some parts become something else, vanish, come twice or change places."""
    for _ in range(random_.randint(1, 5)):
        places = spots(value, [])
        # the top is as likely as the thousands of rows below it
        places = random_.choice([places, places[:40], [p for p in places if not isinstance(p[0][p[1]], dict | list)]])
        if not places:
            return
        box, key = random_.choice(places)
        other_box, other_key = random_.choice(places)
        match random_.randrange(4):
            case 0 | 1:
                box[key] = copy.deepcopy(random_.choice(ODD))
            case 2:
                box[key] = copy.deepcopy(other_box[other_key])
            case _:
                del box[key]


@pytest.fixture(scope="module")
def documents(pair: tuple[Path, Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What two honest hosts would send: manifests, and excerpts of what differs."""
    isos = [open_iso(FileSource(path), LIMITS) for path in pair]
    manifests = [json.loads(json.dumps(make(iso, "x"))) for iso in isos]
    for m in manifests:  # small enough to mutate often; every layer stays
        for layer in m["layers"]:
            layer["entries"], layer["order"] = layer["entries"][-12:], None
    wanted = {"live/filesystem.squashfs → /etc/nvme/hostid": 0, "live/filesystem.squashfs → /usr/bin/tool": 40_000}
    return manifests, [excerpts.take(iso, wanted, 1 << 16, 1 << 17) for iso in isos]


def report(sides: list[dict[str, Any]], sent: list[Any], folder: Path) -> None:
    """All that the master does with what two hosts sent."""
    images = []
    for name, side, more in zip("ab", sides, sent, strict=True):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(more))
        images.append(recorded.from_document(side, name, LIMITS, path))
    comparison = Comparer(LIMITS).images(*images)
    identities = (dict(images[0].identity), dict(images[1].identity))
    diagnosis = diagnose(comparison, ("host-a", "host-b"), identities, LIMITS, ("host-a", "host-b"))
    document.text(diagnosis)
    page.render(diagnosis)


def test_mutated_manifests_and_excerpts_end_in_the_documented_error_or_in_a_report(
    documents: tuple[list[dict[str, Any]], list[dict[str, Any]]], tmp_path: Path
) -> None:
    refused = 0
    report(*copy.deepcopy(documents), tmp_path)
    for seed in range(FIRST, FIRST + ROUNDS):
        random_ = random.Random(seed)
        sides, sent = copy.deepcopy(documents)
        mutate(random_.choice([sides[0], sides[1], sides[0], sent[1]]), random_)
        begun = time.monotonic()
        try:
            report(sides, sent, tmp_path)
        except ExplainError as error:
            assert "expected" in str(error) or "at most" in str(error)
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        assert time.monotonic() - begun < 20, f"seed {seed} took too long"
    assert 0 < refused < ROUNDS, "some damage must be noticed, and some must be survived"
