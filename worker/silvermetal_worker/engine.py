"""The container engine, by its API: Docker's, which Podman speaks too.

Rules:

- Asked through the library, with a timeout; an engine that does not answer is a host that is not ready.
- An image is found by digest only, and its id (the digest of its configuration) is what the statement names; an image
  that is pinned by its digest in a registry is named by that, too, as the engine has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import docker.errors
import requests
from silvermetal_proof.errors import printable

import docker
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, WorkerError

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says of itself."""

    name: str
    version: str
    id: str


class ContainerEngine:
    """One engine at one address."""

    def __init__(self, address: str = "") -> None:
        self.address = address or "the default address"
        try:
            if address:
                self._client = docker.DockerClient(base_url=address, timeout=TIMEOUT_SECONDS)
            else:
                self._client = docker.from_env(timeout=TIMEOUT_SECONDS)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise self._not_ready(error) from None

    def _not_ready(self, error: Exception) -> WorkerError:
        return WorkerError(
            f"container engine: expected an answer at {self.address}, got {printable(str(error))}; start it, or set "
            "docker_host in worker.toml",
            EXIT_HOST_NOT_READY,
        )

    def facts(self) -> EngineFacts:
        """Name, version and id. :raises WorkerError: when the engine does not answer."""
        try:
            version, info = self._client.version(), self._client.info()
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise self._not_ready(error) from None
        components = [c.get("Name", "") for c in version.get("Components", [])]
        name = "podman" if any("podman" in c.lower() for c in components) else "docker"
        return EngineFacts(name, printable(version.get("Version", "unknown"), 64), printable(info.get("ID") or "", 128))

    def image_id(self, reference: str) -> str:
        """The id of the image that ``reference`` (a digest) names. :raises WorkerError: when it is not there."""
        return str(self._image(reference).id)

    def image_digest(self, reference: str) -> str | None:
        """The digest in a registry by which ``reference`` names the image, read back; None for a plain id.

        :raises WorkerError: when the engine has the image by other digests only.
        """
        _, at, wanted = reference.rpartition("@")
        if not at:
            return None
        known = {str(d).rpartition("@")[2] for d in self._image(reference).attrs.get("RepoDigests") or ()}
        if wanted not in known:
            got = ", ".join(printable(d, 80) for d in sorted(known)[:3]) or "none"
            raise WorkerError(
                f"builder image: expected the engine to have it by the digest {wanted}, got {got}; `docker pull` it",
                EXIT_HOST_NOT_READY,
            )
        return wanted

    def _image(self, reference: str) -> Any:
        try:
            return self._client.images.get(reference)
        except docker.errors.ImageNotFound:
            raise WorkerError(
                f"builder image: expected {reference} in the engine at {self.address}, got no such image; "
                "`docker pull` it, or `docker load` the archive that scripts/bootstrap-builder.sh makes",
                EXIT_HOST_NOT_READY,
            ) from None
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise self._not_ready(error) from None
