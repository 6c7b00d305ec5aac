"""Holding a real master at an exact place, so that a fault strikes there and not nearby.

Rules:

- The master runs the product's code; the test's ``master.cfg`` only wraps it: at a place whose file ``hold/<place>``
  exists, the master writes ``hold/<place>.there`` and goes on when ``hold/<place>`` is gone.
- Places are ``before-<Step>`` and ``after-<Step>`` for every step, ``before-append`` and ``before-note`` inside *record*,
  ``before-gotChange`` in the scheduler of tags.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import Program, wait_until

HOOK = """

# --- of the test: places where the master can be held ---
import time as _time
from pathlib import Path as _Path
import silvermetal_master.steps as _steps
from silvermetal_master.build_store import BuildStore as _Store
from silvermetal_master.tag_scheduler import TagScheduler as _Tags
from silvermetal_proof.ledger import Ledger as _Ledger
from twisted.internet import defer as _defer
from twisted.internet import reactor as _reactor, task as _task

_HOLD = _Path("hold").resolve()
_HOLD.mkdir(exist_ok=True)


def _there(place):
    if not (_HOLD / place).exists():
        return False
    (_HOLD / f"{place}.there").touch()
    return True


def _step(cls, name="run"):
    original = getattr(cls, name)
    place = cls.__name__ if name == "run" else name

    async def run(self, *args):
        while _there(f"before-{place}"):
            await _task.deferLater(_reactor, 0.05, lambda: None)
        result = await original(self, *args)
        while _there(f"after-{place}"):
            await _task.deferLater(_reactor, 0.05, lambda: None)
        return result

    setattr(cls, name, run if name == "run" else lambda self, *args: _defer.ensureDeferred(run(self, *args)))


def _call(cls, name):
    original = getattr(cls, name)

    def call(self, *args, **kwargs):
        while _there(f"before-{name}"):
            _time.sleep(0.05)
        return original(self, *args, **kwargs)

    setattr(cls, name, call)


if not hasattr(_steps, "held_by_a_test"):
    _steps.held_by_a_test = True
    for _name in ("Pin", "FanOut", "Handover", "Preflight", "Build", "Attest", "CollectStatement", "Judge", "Record"):
        _step(getattr(_steps, _name))
    _step(_Tags, "gotChange")
    _call(_Ledger, "append")
    _call(_Store, "note")
"""


class Holds:
    """The places of one master; ``folder`` is ``hold`` in the master's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, place: str) -> None:
        """From now on, stop there."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / place).touch()

    def wait(self, place: str, master: Program, timeout: float = 60) -> None:
        """Until the master is there."""
        there = self.folder / f"{place}.there"
        wait_until(there.exists, f"the master at {place}", timeout=timeout, programs=[master])

    def clear(self) -> None:
        """Let go of everything."""
        for path in self.folder.glob("*"):
            path.unlink()
