"""What leads this machine to its package sources, lent to a fresh root file system or an image's base.

It belongs to the place and not to the project: apt's Acquire settings, pip's index, the certificates.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LENT_CERTIFICATES = "/lent/certificates.pem"


def told(*command: str) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    ).stdout


def mirror() -> str:
    """Where this machine gets Debian from."""
    lines = told("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian").split()
    found = [line for line in lines if "security" not in line]
    if not found:
        pytest.skip("needs a Debian archive among this machine's apt sources, with its lists (apt-get update)")
    return found[0]


def pip_settings() -> dict[str, str]:
    """pip's index and proxy as this machine has them, as environment variables of pip."""
    settings = {"PIP_CERT": LENT_CERTIFICATES}
    for line in told("python3", "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        if name.endswith((".index-url", ".proxy")):
            settings["PIP_" + name.partition(".")[2].upper().replace("-", "_")] = value.strip("'\"")
    return settings


def fresh_root(folder: Path, suite: str, *options: str) -> None:
    """Debian's minimal set in ``folder``, with the certificates in /lent."""
    acquire = folder.with_name(f"{folder.name}-acquire.conf")
    acquire.write_text(told("apt-config", "dump", "Acquire"))
    command = ["mmdebstrap", "--variant=minbase", f"--aptopt={acquire}", *options, suite, str(folder), mirror()]
    subprocess.run(command, check=True, timeout=600, stdin=subprocess.DEVNULL, capture_output=True)
    (folder / "lent").mkdir()
    shutil.copy(CERTIFICATES, folder / LENT_CERTIFICATES[1:])
