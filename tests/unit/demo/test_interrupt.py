"""Signals set a flag; waiting hears it; cleaning up does not."""

from __future__ import annotations

import os
import signal
import time

import pytest
from silvermetal_demo.errors import Interrupted, SetupFailed
from silvermetal_demo.interrupt import Interrupt


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heard_at_the_next_check_and_not_before(signum: signal.Signals) -> None:
    interrupt = Interrupt()
    with interrupt.handling_signals():
        os.kill(os.getpid(), signum)
        # Still here: a signal raises nothing by itself.
        assert interrupt.requested
        with pytest.raises(Interrupted):
            interrupt.check()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt().handling_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_cleaning_up_is_not_interrupted() -> None:
    interrupt = Interrupt()
    with interrupt.handling_signals(), interrupt.shield():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        start = time.monotonic()
        interrupt.sleep(0.3)
        assert time.monotonic() - start >= 0.3
        interrupt.check()
    with pytest.raises(Interrupted):
        interrupt.check()


def test_waiting_too_long_says_for_what() -> None:
    with pytest.raises(SetupFailed, match=r"the engine does not answer \(waited 0 s\)"):
        Interrupt().wait_until(lambda: False, timeout=0.1, what="the engine does not answer")
