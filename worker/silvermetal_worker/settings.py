"""``worker.toml``: what a worker knows of itself and of its host.

Rules:

- Strict: an unknown key, a missing file or another type is an error that names the key.
- Nothing here decides bytes; whatever decides bytes comes with the order and the commit.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field
from silvermetal_proof import ProofError
from silvermetal_proof.model import Line, Name, Record
from silvermetal_proof.statement import SigningKey

from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError

DIRECTORY_VARIABLE = "SILVERMETAL_WORKER_DIR"
"""Names the worker's directory to the commands that Buildbot starts."""


class WorkerSettings(Record):
    """The content of ``worker.toml``."""

    name: Name
    host: Name
    master: Annotated[str, Field(pattern=r"\A[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}\z")]
    """``HOST:PORT`` of the master's worker port."""
    store: Line
    """The package store, an absolute path; several builds and workers may share it."""
    docker_host: Line = ""
    """The container engine's address; empty for the engine's own default."""
    engine: Annotated[str, Field(pattern=r"\A(docker|podman)\z")] = "docker"
    registry_auth: Line = ""
    """A file like Docker's config.json, mode 0400 or 0600, with what the registry of the builder image asks for."""
    snapshots: Line = ""
    """Where this host finds snapshots of Debian, a URL; for the builder image and recipes of a snapshot."""
    network: Annotated[str, Field(pattern=r"\A[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}\z")] = "bridge"
    """The engine's network for recipes that fetch their packages while they build."""
    keep_artefacts: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many builds' ISOs stay on the host, the newest first."""
    keep_days: Annotated[int, Field(ge=1, le=36500)] = 90
    """How long they stay, days; the newest stays."""
    keep_mib: Annotated[int, Field(ge=1, le=2**30)] = 131072
    """How much all of them may be, MiB; the newest stays."""
    inject_host_name: Line = ""
    """A file in the image that this worker writes its host's name into: a planned divergence, for rehearsals."""


class WorkerDirectory:
    """A worker's directory: settings, key, artefacts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            values = tomllib.loads((path / "worker.toml").read_text(encoding="utf-8"))
            self.settings = WorkerSettings.from_plain(values, what=str(path / "worker.toml"))
        except FileNotFoundError:
            raise WorkerError(
                f"{path} is no worker's directory: expected worker.toml, got none; `silvermetal-worker init` makes one",
                EXIT_USAGE,
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise WorkerError(f"{path / 'worker.toml'}: expected TOML, got {error}", EXIT_USAGE) from None
        except ProofError as error:
            raise WorkerError(str(error), EXIT_USAGE) from None

    @classmethod
    def from_environment(cls) -> WorkerDirectory:
        """The directory that ``silvermetal-worker run`` named to its children."""
        value = os.environ.get(DIRECTORY_VARIABLE)
        if not value:
            raise WorkerError(
                f"expected {DIRECTORY_VARIABLE} to name the worker's directory, got nothing; "
                "run this command by `silvermetal-worker run` or set it",
                EXIT_USAGE,
            )
        return cls(Path(value))

    @property
    def artefacts(self) -> Path:
        """Where finished ISOs stay, a folder a build."""
        return self.path / "artefacts"

    @property
    def signing_key_file(self) -> Path:
        """The host's private key."""
        return self.path / "keys" / "signing.pem"

    def signing_key(self) -> SigningKey:
        """Read the host's key. :raises WorkerError: when it is missing or others can read it."""
        file = self.signing_key_file
        try:
            mode = file.stat().st_mode & 0o777
            if mode & 0o077:
                raise WorkerError(f"{file}: expected mode 0600, got {mode:04o}; `chmod 600` it", EXIT_HOST_NOT_READY)
            return SigningKey.from_pem(file.read_bytes())
        except FileNotFoundError:
            raise WorkerError(f"{file}: expected the host's signing key, got no file", EXIT_HOST_NOT_READY) from None
        except ProofError as error:
            raise WorkerError(f"{file}: {error}", EXIT_HOST_NOT_READY) from None
