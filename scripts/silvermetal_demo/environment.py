"""The environment of what the demo starts: made, not inherited.

- A user's DOCKER_HOST, git configuration or Python variables must not reach a host or the master; what leads to the
  network does.
"""

from __future__ import annotations

import os
from pathlib import Path

# How to reach the network, as this machine is set up.
PASSED = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def plain_environment(venv: Path, home: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return passed | {
        "PATH": f"{venv / 'bin'}:{SYSTEM_PATH}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
