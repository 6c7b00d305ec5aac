"""A cell: processes and mounts that live together and end together, however the demo ends.

- A cell has a PID and a mount namespace of its own, and on demand its own network and UTS namespace. Its process 1
  (`cell_init.py`) waits on a pipe that only the demo holds: when the demo ends, by whatever signal, process 1 ends,
  and the kernel kills every process of the cell (an engine's containers too), drops its mounts, and removes its
  network namespace with the links in it.
- Nothing in a cell can outlive it by a double fork, a new session or a container: that is what a PID namespace is
  for.
- Parts run inside by `nsenter`, each as leader of its own session (`command.py` says why).
- Not `ip netns exec`: it mounts /sys anew, and an engine then finds no control groups.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silvermetal_demo.command import Output, end_group, run
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.manifest import Manifest


@dataclass(frozen=True)
class Isolation:
    """What a cell has of its own besides processes and mounts."""

    network: bool = False
    host_name: str | None = None
    covers: Mapping[str, str] = field(default_factory=dict)
    """Path in the cell: path of what is seen there instead."""
    empty: Sequence[str] = ()
    """Folders that are empty in the cell, and its own."""


class Cell:
    def __init__(self, name: str, isolation: Isolation, manifest: Manifest, interrupt: Interrupt) -> None:
        self.name = name
        self.pid = 0
        self._isolation = isolation
        self._manifest = manifest
        self._interrupt = interrupt
        self._holder: subprocess.Popen[bytes] | None = None
        self._parts: list[Part] = []

    @property
    def _namespaces(self) -> list[str]:
        own = ["--mount", "--pid"]
        if self._isolation.network:
            own.append("--net")
        if self._isolation.host_name:
            own.append("--uts")
        return own

    def start(self) -> None:
        specification = {
            "host_name": self._isolation.host_name,
            "covers": dict(self._isolation.covers),
            "empty": list(self._isolation.empty),
        }
        holder = ["unshare", *self._namespaces, "--fork", "--kill-child", "--mount-proc"]
        init = [sys.executable, "-I", "-S", str(Path(__file__).with_name("cell_init.py")), json.dumps(specification)]
        self._holder = subprocess.Popen(
            [*holder, *init],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        answer = self._first_line(timeout=20)
        if answer != "ready":
            self.stop()
            # Ctrl-C reaches a child, too, that has not yet a session of its own: then that is why it ended.
            self._interrupt.check()
            raise SetupFailed(
                f"cannot make the namespaces of {self.name}: {answer or 'no answer within 20 s'}; "
                "expected root with CAP_SYS_ADMIN (a plain container has not: use a machine or a virtual one)"
            )
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self.pid = int(children[0])
        self._manifest.process(self.pid)

    def _first_line(self, timeout: float) -> str:
        assert self._holder is not None and self._holder.stdout is not None
        got = b""
        end = time.monotonic() + timeout
        while b"\n" not in got and time.monotonic() < end:
            if select.select([self._holder.stdout], [], [], 0.1)[0]:
                piece = os.read(self._holder.stdout.fileno(), 4096)
                if not piece:
                    break
                got += piece
        return got.decode(errors="replace").strip()

    def alive(self) -> bool:
        return self._holder is not None and self._holder.poll() is None

    def _inside(self, arguments: Sequence[str | Path], cwd: Path | None) -> list[str | Path]:
        # Entering a mount namespace moves to its root; `env --chdir` goes back.
        return [
            *("nsenter", "--target", str(self.pid), *self._namespaces, "--"),
            *("env", f"--chdir={cwd or '/'}"),
            *arguments,
        ]

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        expected: Sequence[int] = (0,),
        input_text: str | None = None,
        log: Path | None = None,
    ) -> Output:
        """Run a command inside, to its end."""
        return run(
            self._inside(arguments, cwd),
            timeout=timeout,
            interrupt=self._interrupt,
            env=env,
            expected=expected,
            input_text=input_text,
            log=log,
        )

    def spawn(
        self,
        name: str,
        arguments: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Part:
        """Start something inside that is to keep running; what it says goes to `log`."""
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [str(argument) for argument in self._inside(arguments, cwd)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        part = Part(name, process, log)
        self._parts.append(part)
        return part

    def stop(self) -> None:
        """The parts in the reverse order of their starts, each with a moment to end by itself; then the cell."""
        for part in reversed(self._parts):
            part.stop()
        self._parts.clear()
        holder = self._holder
        if holder is None:
            return
        for pipe in (holder.stdin, holder.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            holder.wait(10)
        except subprocess.TimeoutExpired:
            # Process 1 ends with its holder (--kill-child); the kernel lets it go only when the whole cell is empty.
            end_group(holder, grace=0)


class Part:
    """A process that is to run until it is stopped."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    def alive(self) -> bool:
        return self._process.poll() is None

    def require(self) -> None:
        """SetupFailed with the end of its log when it has ended."""
        if (code := self._process.poll()) is not None:
            end = self.log.read_bytes()[-2000:].decode(errors="replace").strip()
            raise SetupFailed(f"{self.name} ended with exit code {code}; its log {self.log} ends:\n{end}")

    def stop(self, grace: float = 5) -> None:
        if self.alive():
            end_group(self._process, grace=grace)
