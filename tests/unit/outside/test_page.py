"""docs/verify-a-release.md: its commands are run over a release as they stand there, and its codes are the product's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from silvermetal_proof.cli.ends import End
from silvermetal_proof.release import minisign, sshsig

from tests.unit.outside.test_verify_release import World
from tests.unit.proof.test_cli import MASTER

PAGE = (Path(__file__).parents[3] / "docs/verify-a-release.md").read_text(encoding="utf-8")
COMMANDS = [block.strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]


def _run(command: str, folder: Path) -> int:
    env = {**os.environ, "MINISIGN_KEY": minisign.public_key(MASTER.public)}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    return done.returncode


@pytest.mark.parametrize("tool", ["sha256sum", "minisign", "ssh-keygen"])
def test_a_plain_tools_command_holds_and_notices_a_change(tmp_path: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    (command,) = [c for c in COMMANDS if c.startswith(tool)]
    world = World(tmp_path)
    (world.folder / "signers").write_text(sshsig.allowed_signers(MASTER.public))
    assert _run(command, world.folder) == 0
    sums = world.folder / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"a", b"b", 1))
    assert _run(command, world.folder) != 0


def test_every_exit_code_is_on_the_page() -> None:
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == sorted(int(e) for e in End)


def test_every_option_on_the_page_is_one_of_the_command() -> None:
    from silvermetal_outside.command import verify_release

    known = {name for parameter in verify_release.params for name in parameter.opts}
    for option in re.findall(r"`(--[a-z-]+)`", PAGE):
        assert option in known, option
