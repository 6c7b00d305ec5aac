"""Running programs: no input, bounded output, and a whole group that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from silvermetal_worker import process
from silvermetal_worker.errors import EXIT_TIMEOUT, WorkerError
from silvermetal_worker.process import output_of, run_to_log

ENV = {"PATH": os.environ["PATH"]}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_in(path: Path) -> int:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"expected a process id in {path}, got none")


def gone(pid: int, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_the_exit_code_comes_back_and_standard_input_is_empty(tmp_path: Path) -> None:
    assert run_to_log(["sh", "-c", "cat; exit 7"], timeout=10, cwd=tmp_path, env=ENV) == 7


def test_at_the_deadline_the_whole_group_ends(tmp_path: Path) -> None:
    script = "sleep 60 & echo $! > child; wait"
    assert run_to_log(["sh", "-c", script], timeout=0.5, cwd=tmp_path, env=ENV) == EXIT_TIMEOUT
    assert gone(pid_in(tmp_path / "child"))


def test_a_child_that_ignores_sigterm_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader goes at once at SIGTERM; what it left in its group must not go on building."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 1)
    script = "sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.1; done' & wait"
    assert run_to_log(["sh", "-c", script], timeout=0.7, cwd=tmp_path, env=ENV) == EXIT_TIMEOUT
    child = pid_in(tmp_path / "child")
    ended = gone(child)
    if not ended:
        os.kill(child, signal.SIGKILL)
    assert ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_us_ends_the_group_and_then_us(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import os; from pathlib import Path; from silvermetal_worker.process import run_to_log; "
        "run_to_log(['sh', '-c', 'sleep 60 & echo $! > child; wait'], timeout=60, cwd=Path.cwd(), env=dict(os.environ))"
    )
    ours = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, start_new_session=True)
    child = pid_in(tmp_path / "child")
    ours.send_signal(number)
    assert ours.wait(20) == 128 + number
    assert gone(child)


def test_the_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_to_log(["true"], timeout=10, cwd=tmp_path, env=ENV)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("argv", "options", "message", "code"),
    [
        (["sh", "-c", "echo why >&2; exit 9"], {}, "expected exit code 0, got 9: why", 3),
        (["no-such-program"], {}, "expected the program 'no-such-program' on this host, got none", 5),
        (["sleep", "30"], {"timeout": 0.3}, "expected an end within 0.3 s, got none", EXIT_TIMEOUT),
        (["sh", "-c", "head -c 2000 /dev/zero"], {"limit": 1000}, "expected at most 1000 bytes of output", 3),
    ],
)
def test_output_that_cannot_be_had_is_an_error(argv: list[str], options: dict, message: str, code: int) -> None:
    with pytest.raises(WorkerError, match=message) as caught:
        output_of(argv, **{"timeout": 10, **options})
    assert caught.value.code == code


def test_output_comes_back_without_input() -> None:
    assert output_of(["sh", "-c", "cat; echo done"], timeout=10) == "done\n"
