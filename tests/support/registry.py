"""A real container registry for a test: Debian's docker-registry on loopback, with a password.

Rules:

- On 127.0.0.1, which every engine speaks plain HTTP to; its data lie in the test's own folder.
- Without docker-registry on the machine the test is skipped, and the skip names the package.
"""

from __future__ import annotations

import base64
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import Program, free_port, wait_until

USER, PASSWORD = "builder", "a word of the tests"
# bcrypt of PASSWORD, of the least cost that there is.
_HTPASSWD = f"{USER}:$2b$04$MjmyjRMnhPo/u6wcXF88b.fFReNAErR5NU9lU3WypUAu7QpUGH/xS\n"
_ACCEPT = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


@dataclass
class Registry:
    """One registry; ``stop`` and ``start`` play one that is down."""

    folder: Path
    port: int
    program: Program | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.program = Program(
            ["docker-registry", "serve", str(self.folder / "config.yml")], self.folder / "registry.log"
        )
        wait_until(self.answers, "the registry's answer", timeout=60, programs=[self.program])

    def stop(self) -> None:
        if self.program is not None:
            self.program.stop()

    def answers(self) -> bool:
        try:
            self._ask("", "GET")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _ask(self, path: str, method: str) -> str:
        request = urllib.request.Request(f"http://{self.address}/v2/{path}", method=method)
        word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
        request.add_header("Accept", _ACCEPT)
        with urllib.request.urlopen(request, timeout=15) as answer:
            return str(answer.headers.get("Docker-Content-Digest", ""))

    def digest(self, name: str, reference: str) -> str:
        """The digest of a manifest, as the registry says it; empty where it has none."""
        try:
            return self._ask(f"{name}/manifests/{reference}", "HEAD")
        except urllib.error.HTTPError:
            return ""

    def credentials(self, file: Path, password: str = PASSWORD) -> Path:
        """Write the file that a host needs: Docker's config.json, its owner's alone."""
        word = base64.b64encode(f"{USER}:{password}".encode()).decode()
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps({"auths": {self.address: {"auth": word}}}))
        file.chmod(0o400)
        return file


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """A running registry; ended at the end."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed (package docker-registry)")
    folder.mkdir()
    own = Registry(folder, free_port())
    (folder / "htpasswd").write_text(_HTPASSWD)
    (folder / "config.yml").write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "warn"},
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": own.address},
                "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
            }
        )
    )
    try:
        own.start()
        yield own
    finally:
        own.stop()
