"""Step *collect*: bring one small file from the worker, bounded, and write down what the master saw.

Rules:

- By file transfer, never by standard output (H5); into memory with a limit that a hostile worker cannot pass.
- The observation (worker, peer address) is written by the master at this moment; nothing in it comes from the worker.
- The statement stays sealed here: this step does not open it.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from buildbot.process import remotecommand
from buildbot.process.results import FAILURE, SUCCESS
from buildbot.worker.protocols import base
from silvermetal_proof.seal.hpke import MAX_SEALED_BYTES

from silvermetal_master.build_store import NoSuchBuildError
from silvermetal_master.steps.handover import BUILDER_FOLDER
from silvermetal_master.steps.of_build import StepOfBuild
from silvermetal_master.steps.on_worker import EXCERPT_FILE, MANIFEST_FILE, STATEMENT_FILE

STATEMENT_DATA = "statement"
OBSERVATION_DATA = "observation"
BLOCK_BYTES = 128 * 1024
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
MAX_EXCERPT_BYTES = 8 * 1024 * 1024
"""At most 4 MiB of files in base64."""


class TooLargeError(Exception):
    """The worker sent more than was allowed."""


class BoundedBytes(base.FileWriterImpl):
    """What a worker writes, kept in memory up to ``limit`` bytes; beyond that the transfer is refused."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[bytes] = []
        self.size = 0
        self.closed = False

    def remote_write(self, data: bytes | str) -> None:
        """One block from the worker, which may send anything: of a number ``bytes()`` would make that many zeros."""
        if self.closed or not isinstance(data, (bytes, str)):
            raise TypeError(
                f"expected bytes before the end, got {type(data).__name__}{' after it' if self.closed else ''}"
            )
        block = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        self.size += len(block)
        if self.size > self.limit:
            self.parts.clear()
            raise TooLargeError(f"expected at most {self.limit} bytes, got more")
        self.parts.append(block)

    def remote_close(self) -> None:
        """The worker is done."""
        self.closed = True

    @property
    def data(self) -> bytes:
        """All bytes."""
        return b"".join(self.parts)


class _Collect(StepOfBuild):
    haltOnFailure = True
    source = ""
    limit = 0

    async def fetch(self) -> bytes | None:
        """The file's bytes; None, with the reason said, when it did not come whole."""
        writer = BoundedBytes(self.limit)
        args = {
            "workdir": BUILDER_FOLDER,
            "workersrc": self.source,
            "writer": writer,
            "maxsize": self.limit + 1,
            "blocksize": BLOCK_BYTES,
            "keepstamp": False,
        }
        command = remotecommand.RemoteCommand("uploadFile", args)
        await self.runCommand(command)
        if command.didFail() or not writer.closed or writer.size > self.limit:
            got = f"more than {self.limit} bytes" if writer.size > self.limit else "no whole file"
            await self.say(f"expected {self.source} from the host, got {got}")
            return None
        return writer.data


class CollectStatement(_Collect):
    """Bring the sealed statement and keep it with this build."""

    name = "collect"
    description = ["collecting the sealed statement"]
    source = STATEMENT_FILE
    limit = MAX_SEALED_BYTES

    def _observed(self) -> bytes:
        peer = self.worker.conn.get_peer() if self.worker.conn is not None else None
        address = None
        if isinstance(peer, str) and ":" in peer:
            address = peer.rpartition(":")[0].strip("[]")[:64]
        identity = getattr(self.worker, "tls_identity", None)
        seen = {"worker": self.worker.workername, "peer": address, "tls_identity": identity}
        return json.dumps(seen, sort_keys=True).encode("ascii")

    async def run(self) -> int:
        """Collect."""
        data = await self.fetch()
        if data is None:
            return FAILURE
        observed = self._observed()
        await self.setBuildData(OBSERVATION_DATA, observed, "master")
        await self.setBuildData(STATEMENT_DATA, data, "worker")
        # Buildbot may lose build data without an error (facts, d): read back what was written.
        stored = await self.master.data.get(("builds", self.build.buildid, "data", STATEMENT_DATA, "value"))
        if stored is None or bytes(stored["raw"]) != data:
            await self.say("expected to read back the statement from the database, got something else")
            return FAILURE
        await self.say(f"sealed statement received, {len(data)} bytes")
        return SUCCESS


class CollectManifest(_Collect):
    """Bring the manifest of a diverged build and keep it in the build's record."""

    name = "collect"
    description = ["collecting the manifest"]
    source = MANIFEST_FILE
    limit = MAX_MANIFEST_BYTES
    kind = "manifest"

    def __init__(self, *, host: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.host = host

    async def run(self) -> int:
        """Collect."""
        try:
            record = self.record()
        except NoSuchBuildError as error:
            await self.say(str(error))
            return FAILURE
        data = await self.fetch()
        if data is None:
            return FAILURE
        if data[:2] != b"\x1f\x8b" or not _is_gzip(data):
            await self.say("expected gzip, got something else")
            return FAILURE
        record.write(f"{self.kind}s/{{host}}.json.gz", data, host=self.host)
        await self.say(f"{self.kind} received, {len(data)} bytes")
        return SUCCESS


class CollectExcerpt(CollectManifest):
    """Bring the bytes that differ and keep them in the build's record."""

    description = ["collecting the bytes that differ"]
    source = EXCERPT_FILE
    limit = MAX_EXCERPT_BYTES
    kind = "excerpt"


def _is_gzip(data: bytes) -> bool:
    """Whether the first bytes are a gzip stream; nothing is unpacked here."""
    try:
        zlib.decompressobj(wbits=31).decompress(data[:4096], 1)
    except zlib.error:
        return False
    return True
