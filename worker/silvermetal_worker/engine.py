"""The container engine, by its API: Docker's, which Podman speaks too.

Rules:

- Asked through the library, with a timeout; an engine that does not answer is a host that is not ready.
- An image is found by digest only, and its id (the digest of its configuration) is what the statement names; an image
  that is pinned by its digest in a registry is named by that, too, as the engine has it.
- A registry is spoken to by the engine alone; its credentials come from one file, which is read and never written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
import requests
from silvermetal_proof.errors import printable

import docker
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_REGISTRY, WorkerError

TIMEOUT_SECONDS = 30
TRANSFER_SECONDS = 1800
"""For one push or pull: silence of that length ends it."""


class RegistryError(WorkerError):
    """A registry did not answer, or refused: nothing of this host's, and worth another try."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_REGISTRY)


def check_credentials(file: str) -> str:
    """What is to be said of the credentials' file. :raises WorkerError: when others can read it, or nobody."""
    if not file:
        return "none named: the registry is asked without"
    try:
        mode = Path(file).stat().st_mode & 0o777
        Path(file).read_bytes()
    except OSError as error:
        raise WorkerError(f"{file}: expected the registry's credentials, got {error}", EXIT_HOST_NOT_READY) from None
    if mode & 0o077:
        raise WorkerError(f"{file}: expected mode 0400 or 0600, got {mode:04o}", EXIT_HOST_NOT_READY)
    return f"{file} is its owner's alone"


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says of itself."""

    name: str
    version: str
    id: str


class ContainerEngine:
    """One engine at one address."""

    def __init__(self, address: str = "", credentials: str = "") -> None:
        self.address = address or "the default address"
        self._url = {"base_url": address} if address else {}
        self._credentials = credentials
        try:
            self._client = self._connect(TIMEOUT_SECONDS)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise self._not_ready(error) from None

    def _connect(self, timeout: float) -> Any:
        if self._url:
            return docker.DockerClient(timeout=timeout, **self._url)
        return docker.from_env(timeout=timeout)

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

    def volume(self, name: str) -> str:
        """Where the volume ``name`` lies on the engine's machine; it is made where it is missing.

        :raises WorkerError: when the engine cannot make it.
        """
        try:
            return str(self._client.volumes.create(name).attrs.get("Mountpoint", ""))
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise WorkerError(
                f"volume {name}: expected the engine at {self.address} to have or to make it, got "
                f"{printable(str(error), 300)}",
                EXIT_HOST_NOT_READY,
            ) from None

    def remove_of(self, label: str, *, below: Path) -> list[str]:
        """Remove every container with ``label`` that has a folder below ``below`` mounted; return their short ids.

        :raises WorkerError: when the engine does not answer.
        """
        gone = []
        try:
            for container in self._client.api.containers(all=True, filters={"label": [label]}):
                sources = [Path(str(mount.get("Source", ""))) for mount in container.get("Mounts") or ()]
                if any(below in source.parents for source in sources):
                    self._client.api.remove_container(container["Id"], force=True, v=True)
                    gone.append(printable(str(container["Id"])[:12]))
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise self._not_ready(error) from None
        return gone

    def _with_registry(self) -> Any:
        """A client that knows the credentials."""
        check_credentials(self._credentials)
        client = self._connect(TRANSFER_SECONDS)
        if self._credentials:
            try:
                client.api.reload_config(dockercfg_path=self._credentials)
            except (docker.errors.DockerException, ValueError) as error:
                raise WorkerError(f"{self._credentials}: expected Docker's config.json, got {error}") from None
        return client

    @staticmethod
    def _follow(lines: Iterable[Any], what: str) -> None:
        """Read a transfer to its end. :raises RegistryError: at the error that it reports."""
        for line in lines:
            if isinstance(line, dict) and line.get("error"):
                raise RegistryError(f"{what}: {printable(str(line['error']), 400)}")

    def push(self, image: str, repository: str, tag: str) -> str:
        """Push ``image`` (an id) as ``repository:tag`` and return the digest by which the registry has it then.

        :raises RegistryError: when the registry does not take it, or has it no more when it is asked.
        """
        reference = f"{repository}:{tag}"
        client = self._with_registry()
        try:
            client.images.get(image).tag(repository, tag=tag)
            self._follow(client.api.push(repository, tag=tag, stream=True, decode=True), f"push of {reference}")
            return str(client.images.get_registry_data(reference).id)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise RegistryError(f"{reference}: {printable(str(error), 400)}") from None

    def pull(self, reference: str) -> None:
        """Bring ``name@sha256:…`` into the engine. :raises RegistryError: when the registry does not give it."""
        name, _, digest = reference.partition("@")
        client = self._with_registry()
        try:
            self._follow(client.api.pull(name, tag=digest, stream=True, decode=True), f"pull of {reference}")
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise RegistryError(f"{reference}: {printable(str(error), 400)}") from None
