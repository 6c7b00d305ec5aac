"""In front of reprepro: one harmless message is let pass, word for word; every other failure stays one and has a name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WRAPPER = ROOT / "scripts/recipes/silvermetal-base/reprepro"
STAND_INS = ROOT / "tests/fakes/derivative-maker/help-steps"


def run(real: Path, *argv: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(WRAPPER), *argv], env={"SILVERMETAL_REPREPRO": str(real), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_the_lack_of_a_priority_is_let_pass_and_told() -> None:
    code, said = run(STAND_INS / "reprepro-harmless")
    assert code == 0 and "No priority for 'kicksecure-meta-packages', skipping." in said
    assert "reprepro-refused" not in said


def test_another_message_beside_it_is_a_failure() -> None:
    code, said = run(STAND_INS / "reprepro-broken")
    assert code == 255 and "reprepro-refused: exit code 255" in said and "database: it is locked" in said


@pytest.mark.parametrize(("code", "says"), [
    (255, ""), (255, "There have been errors!"), (255, "No priority for x, maybe"), (254, "No priority for 'x', skipping."),
    (1, "anything"),
])  # fmt: skip
def test_any_other_end_is_handed_on(tmp_path: Path, code: int, says: str) -> None:
    real = tmp_path / "reprepro"
    real.write_text(f'#!/bin/sh\n[ -z "{says}" ] || echo "{says}" >&2\nexit {code}\n')
    real.chmod(0o755)
    assert run(real)[0] == code


def test_arguments_and_output_are_the_real_ones(tmp_path: Path) -> None:
    real = tmp_path / "reprepro"
    real.write_text('#!/bin/sh\necho "$#:$2"\n')
    real.chmod(0o755)
    assert run(real, "includedsc", "a b") == (0, "2:a b\n")
