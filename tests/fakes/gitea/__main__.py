"""``python -m tests.fakes.gitea PORT TOKEN_FILE``: the stand-in as a process, on this machine's loopback."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.fakes.gitea.server import Gitea


def main() -> None:
    port, token_file = sys.argv[1:]
    with Gitea(token=Path(token_file).read_text().strip(), port=int(port)) as gitea:
        print(gitea.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
