"""Process 1 of a cell (`cell.py`). Runs as a plain file, so it imports nothing of the project.

    python3 -I cell_init.py SPECIFICATION

- It prepares the cell's own mounts and host name, says `ready`, and then only waits for its standard input to end:
  the pipe's other end is held by the demo alone, so however the demo ends, this process ends, and the kernel ends the
  cell with it.
- Orphans inside the cell are reaped by ignoring SIGCHLD.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from typing import Any

MS_BIND = 4096


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot mount {source} on {target}: {os.strerror(error)}")


def prepare(specification: dict[str, Any]) -> None:
    if name := specification["host_name"]:
        socket.sethostname(name)
    # Covers first: their sources may lie below a folder that is emptied next.
    for target, source in specification["covers"].items():
        mount(source, target, "none", MS_BIND)
    for target in specification["empty"]:
        mount("tmpfs", target, "tmpfs", 0, "mode=0755")


def main() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Ends come by the pipe; a signal to process 1 from inside must not end the cell.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    try:
        prepare(json.loads(sys.argv[1]))
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while os.read(0, 4096):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
