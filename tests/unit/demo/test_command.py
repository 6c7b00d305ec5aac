"""External commands: deadline, exit code, bounded output, no standard input, no grandchild left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from silvermetal_demo.command import LIMIT, run
from silvermetal_demo.errors import Interrupted, SetupFailed
from silvermetal_demo.interrupt import Interrupt


def test_exit_code_is_checked_and_said_with_what_the_command_said() -> None:
    with pytest.raises(SetupFailed, match=r"(?s)got exit code 7, expected 0.*no such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 7"], timeout=10)
    assert run(["sh", "-c", "exit 7"], timeout=10, expected=(0, 7)).code == 7


def test_standard_input_is_empty_or_given() -> None:
    assert run(["cat"], timeout=10).out == ""
    assert run(["cat"], timeout=10, input_text="a line\n").out == "a line\n"


def test_output_is_bounded_to_its_end() -> None:
    out = run(["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo end"], timeout=30).out
    assert len(out) == LIMIT
    assert out.endswith("xend\n")


def test_missing_command_is_a_sentence() -> None:
    with pytest.raises(SetupFailed, match="cannot start no-such-command: No such file"):
        run(["no-such-command"], timeout=10)


def test_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="did not end within 1 s"):
        run(["sh", "-c", f"(sleep 60; touch {tmp_path}/late) & echo $! > {tmp_path}/pid; sleep 60"], timeout=1)
    grandchild = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{grandchild}").exists()


def test_a_command_that_ignores_term_is_killed() -> None:
    start = time.monotonic()
    with pytest.raises(SetupFailed, match="did not end"):
        run(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], timeout=0.5)
    assert time.monotonic() - start < 10


def test_an_interrupt_ends_a_running_command() -> None:
    interrupt = Interrupt()
    interrupt.request()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        run(["sleep", "60"], timeout=60, interrupt=interrupt)
    assert time.monotonic() - start < 5


def test_a_command_that_ctrl_c_ended_too_is_an_interrupt_and_no_failure() -> None:
    interrupt = Interrupt()
    interrupt.request()
    with pytest.raises(Interrupted):
        run(["sh", "-c", "kill -INT $$"], timeout=5, interrupt=interrupt)
    with interrupt.shield(), pytest.raises(SetupFailed):
        run(["false"], timeout=5, interrupt=interrupt)
