"""The builder image that the master has made from ``docker/`` of a commit: what is asked for, and what came of it.

Rules:

- An image is known by the digest of what it is made from (its key), not by the commit: two commits with one ``docker/``
  share an image.
- What travels back is the image's id and its digest as the registry itself gave it; a tag is never an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from silvermetal_proof import canonical
from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.model import Commit, Record, Sha256

INPUTS = ("docker", "config/snapshot-pin.env", "scripts/make-builder-image", "scripts/docker-archive")
"""Paths whose content at a commit decides what the image is."""
MAX_BYTES = 64 * 1024

Repository = Annotated[
    str, StringConstraints(pattern=r"\A[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*){1,8}\z", max_length=200)
]
"""``REGISTRY/NAME``, such as ``registry.example.org/silvermetal/builder``; no tag, no digest."""


def image_key(objects: Mapping[str, str]) -> str:
    """The key of what an image is made from; ``objects`` are Git's object ids by the paths of :data:`INPUTS`."""
    missing = [path for path in INPUTS if path not in objects]
    if missing:
        raise MalformedError("builder image", expected=f"{', '.join(missing)} at the commit", got="no such file")
    return sha256(canonical.encode({path: objects[path] for path in INPUTS}))


class ImageOrder(Record):
    """What the master hands to the host that makes the image."""

    version: Literal[1] = 1
    key: Sha256
    commit: Commit
    repository: Repository
    tries: Annotated[int, Field(ge=1, le=20)]
    """How often the registry is asked before it counts as down."""
    pause: Annotated[int, Field(ge=0, le=3600)]
    """Seconds between two tries."""

    @property
    def tag(self) -> str:
        """The tag that it is pushed by; nothing is ever pulled by it."""
        return f"docker-{self.key[7:23]}"


class ImageMade(Record):
    """What came of an order."""

    version: Literal[1] = 1
    key: Sha256
    commit: Commit
    repository: Repository
    image: Sha256
    """The image's id: the digest of its configuration, which names its content."""
    digest: Sha256
    """The digest of its manifest, as the registry gave it when it was asked after the push."""

    @property
    def reference(self) -> str:
        """What is pinned: ``name@sha256:…``."""
        return f"{self.repository}@{self.digest}"

    def check(self, order: ImageOrder) -> None:
        """:raises MalformedError: unless this answers ``order``."""
        for name in ("key", "commit", "repository"):
            expected, got = getattr(order, name), getattr(self, name)
            if expected != got:
                raise MalformedError(f"builder image: {name}", expected=expected, got=got)
