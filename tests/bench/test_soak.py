"""Soak: thousands of verifications with random faults in one run; the master's memory stays flat, nothing is lost.

``SILVERMETAL_SOAK=2000`` says how many (default 2000); ``SILVERMETAL_SOAK_SECONDS`` ends a shorter run, which says how
many it was; ``SILVERMETAL_SOAK_SEED`` repeats one. A real master, hosts that
build nothing (``bot.py``), so that a verification takes about a second.

Rules:

- What each tag must end with is known from the fault that was played; REPRODUCED where a host lied is a failure.
- Memory is the master's resident set after each tag; the last quarter's median is at most 1.1 times the second's.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildRecord
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile, hostile
from tests.support.processes import wait_until

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]
COUNT = int(os.environ.get("SILVERMETAL_SOAK", "2000"))
SECONDS = float(os.environ.get("SILVERMETAL_SOAK_SECONDS", "inf"))
SEED = int(os.environ.get("SILVERMETAL_SOAK_SEED", "7"))
LIES = {
    "other-bytes": "def says(s, o): s['subject'][0]['digest']['sha256'] = 'a' * 64; return s",
    "garbage": "def seals(envelope, order): return b'nothing that opens'",
    "torn": "def seals(e, o): return seal(e, public_hex=o.seal_key, build=o.build, host=o.host)[:200]",
    "fails": "def runs(update, words):\n    async def end(): return 3 if 'build' in words else 0\n    return end()",
}
FAULTS = ("none",) * 6 + tuple(LIES) + ("killed", "stopped", "reload")


def _resident(service: Hostile) -> int:
    assert service.master is not None
    return int(Path(f"/proc/{service.master.process.pid}/statm").read_text().split()[1]) * 4096


def _play(service: Hostile, fault: str, choice: random.Random, number: int) -> str:
    """One verification under ``fault``; return its outcome."""
    tag = f"v{number}"
    host = choice.choice(sorted(service.liars))
    liar = service.liars[host]
    for each in service.liars.values():
        each.attack("")
    if fault in LIES:
        liar.attack(LIES[fault])
    service.push_tag(tag)
    assert liar.program is not None and service.master is not None
    if fault == "killed":
        service_builds = f"iso@{host}"
        wait_until(lambda: any(not b["complete"] for b in service.builds_of_newest(service_builds)), "a build")
        liar.program.kill()
        liar.start()
    elif fault == "stopped":
        liar.program.signal(signal.SIGSTOP)
        wait_until(lambda: service.api("builds?complete=false")["builds"], "a build")
        liar.program.signal(signal.SIGCONT)
    elif fault == "reload":
        service.master.signal(signal.SIGHUP)
    return str(service.verdict(tag).outcome)


class Soaked(Hostile):
    """The hostile service; its questions stay small however many builds there were."""

    def builds_of_newest(self, builder: str) -> list[dict[str, object]]:
        return list(self.api(f"builders/{builder}/builds?order=-buildid&limit=1")["builds"])


def test_soak(tmp_path: Path) -> None:
    choice = random.Random(SEED)
    memory: list[int] = []
    ended: dict[tuple[str, str], int] = {}
    with hostile(tmp_path, kind=Soaked, deadline=60, build_timeout=45) as service:
        end = time.monotonic() + SECONDS
        for number in range(COUNT):
            if time.monotonic() > end:
                break
            fault = choice.choice(FAULTS)
            outcome = _play(service, fault, choice, number)
            ended[fault, outcome] = ended.get((fault, outcome), 0) + 1
            assert not (fault in LIES and outcome == Outcome.REPRODUCED), f"v{number}: {fault} was green"
            assert not (fault in ("none", "reload", "stopped") and outcome != Outcome.REPRODUCED), (
                f"v{number}: {outcome}"
            )
            memory.append(_resident(service))
        done = len(memory)
        service.wait_idle()
        recorded = {v.encode() for v in service.recorded()}
        folders = list((service.state / "builds").iterdir())
        assert all(BuildRecord(f).verdict.encode() in recorded for f in folders if BuildRecord(f).judged)
        assert len(recorded) >= done
        assert all(service.store_note(f"refs/tags/v{n}") for n in range(done))
    quarter = max(1, done // 4)
    second, last = statistics.median(memory[quarter : 2 * quarter]), statistics.median(memory[-quarter:])
    print(f"\n{done} verifications, seed {SEED}")
    for (fault, outcome), times in sorted(ended.items()):
        print(f"  {fault:12} {outcome:16} {times}")
    print(
        f"  resident: second quarter {second / 2**20:.1f} MiB, last {last / 2**20:.1f} MiB, ratio {last / second:.3f}"
    )
    assert last <= 1.1 * second
