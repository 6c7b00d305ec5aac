"""Every cause of the catalogue, made by the real tools: alone, and all of them in one pair.

Rules:
- One diff names each planned difference by its cause, with a remedy, and gives no other cause.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from silvermetal_explain.causes import catalogue
from silvermetal_explain.cli import diff_command

from .alone import ALONE
from .catalogue import ALL, DERIVATIVE_MAKER, FURTHER, SILVERMETAL
from .checklists import DERIVATIVE_MAKER_5, SILVERMETAL_2
from .world import HOSTS, Case, build, missing

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
]
SUBSETS = int(os.environ.get("SILVERMETAL_CASES_SUBSETS", "6"))


def diff(folder: Path, cases: list[Case]) -> dict[str, object]:
    """Build the pair and read the report."""
    images = [build(folder / name, side, cases) for side, name in enumerate("ab")]
    report = folder / "report.json"
    done = CliRunner().invoke(
        diff_command,
        [
            *map(str, images),
            "--json",
            str(report),
            "--html",
            str(folder / "report.html"),
            "--label-a",
            HOSTS[0],
            "--label-b",
            HOSTS[1],
            # The limit is a process's, and this process is the whole test run; the benches hold the real bound.
            "--memory",
            "4096",
        ],
    )
    assert done.exit_code in (0, 1), done.output
    document: dict[str, object] = json.loads(report.read_text())
    assert done.exit_code == (0 if document["same"] else 1)
    return document


def told(document: dict[str, object]) -> dict[str, list[str]]:
    """Causes and where they were seen."""
    found: dict[str, list[str]] = {}
    for d in document["differences"]:  # type: ignore[attr-defined]
        found.setdefault(d["cause"], []).append(
            f"{d['layer_path']}: {d['what']} ({d.get('shape', '')}) {d['a'][:60]} | {d['b'][:60]}"
        )
    return found


def test_without_a_planned_difference_the_two_images_are_the_same(tmp_path: Path) -> None:
    a, b = (build(tmp_path / name, side, []) for side, name in enumerate("ab"))
    assert hashlib.sha256(a.read_bytes()).digest() == hashlib.sha256(b.read_bytes()).digest()
    assert diff(tmp_path / "again", [])["same"] is True


@pytest.mark.parametrize("name", [*ALL, *ALONE])
def test_alone_it_is_named_and_nothing_else_is(name: str, tmp_path: Path) -> None:
    document = diff(tmp_path, [{**ALL, **ALONE}[name]])
    found = told(document)
    assert set(found) == {name}, found
    assert document["todo"][0]["remedy"]  # type: ignore[index]


def test_all_together_in_one_pair_each_is_named_and_nothing_else_is(tmp_path: Path) -> None:
    document = diff(tmp_path, list(ALL.values()))
    found = told(document)
    extra = {k: v[:5] for k, v in found.items() if k not in ALL}
    assert (sorted(set(ALL) - set(found)), extra) == ([], {})
    assert len(document["todo"]) == len(ALL)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(SUBSETS))
def test_of_any_few_together_each_is_named_and_nothing_else_is(seed: int, tmp_path: Path) -> None:
    names = random.Random(seed).sample(sorted(ALL), 2 + seed % 12)
    found = told(diff(tmp_path, [ALL[name] for name in names]))
    assert set(found) == set(names), (sorted(names), found)


def test_every_cause_of_the_catalogue_and_every_entry_of_both_lists_has_a_case() -> None:
    assert {c.id for c in catalogue()} == set(ALL) | set(ALONE)
    assert sorted(SILVERMETAL_2) == list(range(1, 13))
    assert sorted(DERIVATIVE_MAKER_5) == list(range(1, 40))
    shown = {name for names in (*SILVERMETAL_2.values(), *DERIVATIVE_MAKER_5.values()) for name in names}
    assert shown <= set(ALL) | set(ALONE)
    assert set(SILVERMETAL) | set(DERIVATIVE_MAKER) <= set(ALL)
    assert len(set(FURTHER) - shown) >= 20
