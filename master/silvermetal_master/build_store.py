"""The master's record of each build: a folder a build, outside Buildbot's database.

Layout: ``builds/<id>/`` with ``request.json``, ``pins.json``, ``packages.lock``, ``orders/<host>.json``, ``seal.key``,
``statements/<host>.json``, ``verdict.json``, ``verdict.dsse.json``, ``manifests/<host>.json.gz``, ``difference.*``,
``page`` (the build's address), ``announced``; of a divergence that was attributed also ``attribution/`` and
``attribution.*``; ``by-ref/<digest of the ref>.json`` names the newest build of a ref; ``ledger/`` is the log,
``tags/`` the book of tags, ``outbox/`` what is to be sent.

Rules:

- A name from outside (a build's id, a host's name) is checked before it becomes a path.
- Written durably (temporary name, sync, rename); the sealing key and orders are readable by the master alone.
- The sealing key goes when the verdict is written: nothing sealed for that build opens ever again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from silvermetal_proof import canonical
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.order import Order
from silvermetal_proof.seal import SealingKey
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict import BuildRequest, TagSeen, Verdict

from silvermetal_master.errors import PinningError
from silvermetal_master.pinning import Pinned

_BUILD = re.compile(r"\A[0-9a-f]{32}\Z")
_HOST = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")
MAX_REQUEST_BYTES = 8 * 1024 * 1024


class NoSuchBuildError(Exception):
    """There is no record of such a build."""


@dataclass(frozen=True)
class BuildRecord:
    """One build's folder."""

    path: Path

    @property
    def id(self) -> str:
        """The build's id."""
        return self.path.name

    def file(self, name: str, host: str | None = None) -> Path:
        """The path of one of the record's files; ``host`` for those that are one a host."""
        if host is None:
            return self.path / name
        if not _HOST.match(host):
            raise NoSuchBuildError(f"expected a host's name, got {host[:80]!r}")
        return self.path / name.format(host=host)

    def write(self, name: str, data: bytes, *, host: str | None = None, secret: bool = False) -> None:
        """Write one file durably."""
        path = self.file(name, host)
        path.parent.mkdir(exist_ok=True)
        write_durably(path, data, replace=True, mode=0o600 if secret else 0o644)

    @property
    def request(self) -> BuildRequest:
        """What was asked of the hosts."""
        return BuildRequest.parse(self.file("request.json").read_bytes(), limit=MAX_REQUEST_BYTES, what="request")

    @property
    def size_floor(self) -> int:
        """The recipe's size floor, bytes."""
        return int(json.loads(self.file("recipe.json").read_bytes())["size_floor"])

    @property
    def judged(self) -> bool:
        """Whether the verdict has fallen; after it, no answer counts."""
        return self.file("verdict.json").exists()

    @property
    def verdict(self) -> Verdict:
        """The verdict, as decided."""
        return Verdict.parse(self.file("verdict.json").read_bytes(), limit=MAX_REQUEST_BYTES, what="verdict")

    @property
    def page(self) -> str:
        """The address at which people see this build; empty for a record of an older version."""
        file = self.file("page")
        return file.read_text(encoding="utf-8").strip() if file.exists() else ""

    def sealing_key(self) -> SealingKey:
        """The private sealing key. :raises NoSuchBuildError: after the verdict."""
        try:
            return SealingKey.from_hex(self.file("seal.key").read_text(encoding="ascii"))
        except FileNotFoundError:
            raise NoSuchBuildError(f"build {self.id} is judged: its sealing key is gone") from None

    def close(self, verdict: Verdict) -> None:
        """Write the verdict and destroy the sealing key."""
        self.write("verdict.json", verdict.encode())
        self.file("seal.key").unlink(missing_ok=True)


class BuildStore:
    """All records of one master."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, build: object) -> BuildRecord:
        """The record of one build. :raises NoSuchBuildError: for anything that is not the id of one."""
        if not isinstance(build, str) or not _BUILD.match(build) or not (self.path / "builds" / build).is_dir():
            raise NoSuchBuildError(f"expected the id of a build of this master, got {str(build)[:80]!r}")
        return BuildRecord(self.path / "builds" / build)

    def folder(self, build: str) -> Path:
        """Make the folder for a new build."""
        if not _BUILD.match(build):
            raise NoSuchBuildError(f"expected a build's id, got {build[:80]!r}")
        path = self.path / "builds" / build
        path.mkdir(parents=True)
        return path

    def open_build(
        self,
        build: str,
        pinned: Pinned,
        *,
        repository: str,
        workers: dict[str, str],
        nonces: dict[str, str],
        timeout: int,
        variations: Mapping[str, Variation] = MappingProxyType({}),
        tag: TagSeen | None = None,
        page: str = "",
    ) -> BuildRecord:
        """Write what is asked of every host; all mappings are by host, ``timeout`` is in seconds.

        ``page`` is where people see this build.
        """
        record = BuildRecord(self.path / "builds" / build)
        key = SealingKey.generate()
        request = BuildRequest(
            build=build,
            repository=repository,
            ref=pinned.ref,
            commit=pinned.commit,
            recipe=pinned.recipe.name,
            pins=pinned.pins.digest,
            expected_inputs=pinned.expected_inputs(),
            nonces=nonces,
            tag=tag,
            variations=dict(variations),
        )
        record.write("page", f"{page}\n".encode())
        record.write("seal.key", key.to_hex().encode(), secret=True)
        record.write("packages.lock", pinned.lock)
        record.write("pins.json", pinned.pins.encode())
        record.write("recipe.json", canonical.encode({"size_floor": pinned.recipe.size_floor}))
        for host, worker in workers.items():
            order = Order(
                build=build,
                host=host,
                worker=worker,
                repository=repository,
                ref=pinned.ref,
                commit=pinned.commit,
                recipe=pinned.recipe.name,
                pins=pinned.pins,
                nonce=nonces[host],
                seal_key=key.public_hex,
                timeout=timeout,
                variation=variations.get(host),
            )
            record.write("orders/{host}.json", order.encode(), host=host, secret=True)
        # It holds every host's nonce, and a nonce is for one host.
        record.write("request.json", request.encode(), secret=True)
        return record

    def _by_ref(self, ref: str) -> Path:
        return self.path / "by-ref" / f"{hashlib.sha256(ref.encode()).hexdigest()}.json"

    def note(self, ref: str, entry: dict[str, Any]) -> None:
        """Note the newest end of a ref: ``{"build": id, "ledger": index}`` or ``{"failed": why, …}``.

        A failure hides no verdict: an event that nobody could pin, a forged one too, leaves the ref's recorded build.
        """
        path = self._by_ref(ref)
        if "failed" in entry and "build" in (before := self.newest(ref) or {}):
            entry = {**before, **entry}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, canonical.encode({"ref": ref, **entry}), replace=True)

    def newest(self, ref: str) -> dict[str, Any] | None:
        """What :meth:`note` noted last; None when nothing was."""
        try:
            value = canonical.decode(self._by_ref(ref).read_bytes(), limit=65536, what="note of a ref")
        except FileNotFoundError:
            return None
        if not isinstance(value, dict):
            raise PinningError(f"note of {ref}: expected an object, got {type(value).__name__}")
        return value
