"""The attest pass against `sha256sum` on the same file in the same run: a ratio, never a time.

Run with: python -m pytest -m bench tests/bench/test_attest_pass.py -s
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
SIZE = 1024**3
ROUNDS = 5
MAX_RATIO = 1.15
MAX_MEMORY_MIB = 96
PASS = """
import resource, sys
from silvermetal_proof.digest import measure
with open(sys.argv[1], "rb") as stream:
    print(measure(stream, "00" * 32).sha256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def _seconds(argv: list[str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=True)
    return time.perf_counter() - began, done.stdout


def test_attest_pass_costs_about_one_sha256sum(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as stream:
        for _ in range(SIZE // 2**22):
            stream.write(os.urandom(2**22))
    ratios, memory = [], 0
    for _ in range(ROUNDS):
        theirs, said = _seconds(["sha256sum", str(image)])
        ours, output = _seconds([sys.executable, "-c", PASS, str(image)])
        digest, peak = output.split()
        assert digest.removeprefix("sha256:") == said.split()[0]
        memory = max(memory, int(peak))
        ratios.append(ours / theirs)
    ratio = statistics.median(ratios)
    print(
        f"\nattest pass / sha256sum over 1 GiB: median {ratio:.2f}, {min(ratios):.2f} to {max(ratios):.2f}; {memory} MiB"
    )
    assert ratio <= MAX_RATIO
    assert memory <= MAX_MEMORY_MIB
