"""The package lock: exactly the files that a build may use.

Rules:

- Canonical: sorted by name, version and architecture, each package once; the digest of the lock is that of its bytes.
- A file is named by its path below an archive's base, never by a host: any mirror that has the bytes will do.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.model import Hex64, Record

MAX_LOCK_BYTES = 4 * 1024 * 1024

PackageName = Annotated[str, StringConstraints(pattern=r"\A[a-z0-9][a-z0-9+.-]{1,127}\z")]
"""Debian Policy 5.6.1."""
PackageVersion = Annotated[str, StringConstraints(pattern=r"\A[0-9A-Za-z.+~:-]{1,127}\z")]
"""Debian Policy 5.6.12."""
PoolPath = Annotated[str, StringConstraints(pattern=r"\Apool/[A-Za-z0-9][A-Za-z0-9+._~%/-]{0,254}\.deb\z")]


class LockedPackage(Record):
    """One package file. ``size`` is in bytes."""

    name: PackageName
    version: PackageVersion
    architecture: Literal["amd64", "arm64", "all"]
    filename: PoolPath
    size: Annotated[int, Field(gt=0, lt=2**33)]
    sha256: Hex64


class PackageLock(Record):
    """All packages of one build."""

    version: Literal[1]
    architecture: Literal["amd64", "arm64"]
    suite: Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9.-]{0,31}\z")]
    packages: Annotated[tuple[LockedPackage, ...], Field(min_length=1, max_length=20000)]

    @classmethod
    def read(cls, data: bytes, name: str = "package lock") -> PackageLock:
        """Read a lock. :raises MalformedError: when it is not canonical or a path is not plain."""
        lock = cls.parse(data, limit=MAX_LOCK_BYTES, what=name)
        keys = [(p.name, p.version, p.architecture) for p in lock.packages]
        if keys != sorted(set(keys)):
            raise MalformedError(f"{name} is not sorted, or holds a package twice", expected="sorted unique packages")
        for package in lock.packages:
            if ".." in package.filename.split("/"):
                raise MalformedError(
                    f"{name}: path leaves the pool", expected="a path below pool/", got=package.filename
                )
        return lock


def lock_digest(data: bytes) -> str:
    """The digest of a lock is that of its bytes."""
    return sha256(data)
