"""Progress on a large file: a bar for who looks at a terminal, nothing for programs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from silvermetal_proof.cli.progress import LARGE

from tests.unit.proof.makers import A, B
from tests.unit.proof.test_cli import MASTER, ORIGIN, _built, write

COMMAND = Path(sys.executable).with_name("silvermetal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose image is large enough for a bar."""
    out = tmp_path_factory.mktemp("large") / "out"
    image = bytes(LARGE + 1)
    write(out, _built(A, image), _built(B, image), image=image)
    return out


def verify(folder: Path, terminal: bool, *more: str) -> tuple[int, str, str]:
    """Run the command; return its code, its standard output and what came on standard error."""
    argv = [str(COMMAND), "verify", str(folder), "--keys", str(folder / "keys"), "--master-key", MASTER.public.hex]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*argv, "--origin", ORIGIN, *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=env,
    )
    os.close(theirs)
    told = b""
    try:
        # A terminal whose other end is closed is EIO, a pipe is an empty read.
        while piece := os.read(ours, 65536):
            told += piece
    except OSError:
        pass
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out.decode(), told.decode()


def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(folder: Path) -> None:
    code, out, told = verify(folder, True)
    assert code == 0, told
    assert "silvermetal.iso" in told
    assert "16.8/16.8 MB" in told or "/16.8 MB" in told, told
    assert "\x1b[2K" in told, "the line is cleared"
    assert "everything in the folder holds" in out
    assert "\x1b" not in out


def test_a_failure_is_told_below_the_bar(folder: Path) -> None:
    path = folder / "silvermetal.iso"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    try:
        code, _, told = verify(folder, True)
    finally:
        path.write_bytes(bytes(LARGE + 1))
    assert code == 8
    assert told.rstrip().splitlines()[-1].endswith(f"got {_digest()}"), told


def _digest() -> str:
    from silvermetal_proof.digest import sha256

    return sha256(b"x" + bytes(LARGE))


@pytest.mark.parametrize(("terminal", "more"), [(False, ()), (True, ("--json",)), (False, ("--json",))])
def test_programs_see_none(folder: Path, terminal: bool, more: tuple[str, ...]) -> None:
    code, out, told = verify(folder, terminal, *more)
    assert (code, told) == (0, "")
    assert "\x1b" not in out
