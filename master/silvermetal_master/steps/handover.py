"""Step *handover*: give the worker its order and the package lock, as two files.

Rules:

- The order is the one that was written for *this* host of *this* build; a child that was forced or rebuilt after the
  verdict gets none (H3, H4).
- Files, not properties: properties are public, and a nonce is for one host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.process import remotecommand
from buildbot.process.remotetransfer import FileReader
from buildbot.process.results import FAILURE, SUCCESS

from silvermetal_master.attribution import Round
from silvermetal_master.build_store import BuildRecord, NoSuchBuildError
from silvermetal_master.steps.of_build import ROUND_PROPERTY, StepOfBuild

ORDER_FILE = "order.json"
LOCK_FILE = "packages.lock"
WANTED_FILE = "wanted.json"
BUILDER_FOLDER = "."
"""Where orders, outputs and statements lie on the worker: the folder that holds the checkout."""
BLOCK_BYTES = 128 * 1024
"""Below 256 KiB, where transfers stall (H8)."""


class Handover(StepOfBuild):
    """Write ``order.json`` and ``packages.lock`` beside the worker's checkout."""

    name = "handover"
    description = ["handing over the order"]
    haltOnFailure = True

    def __init__(self, *, host: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.host = host

    async def _download(self, source: Path, target: str) -> bool:
        with source.open("rb") as stream:
            reader = FileReader(stream)
            args = {
                "maxsize": None,
                "reader": reader,
                "blocksize": BLOCK_BYTES,
                # The builder's own folder; the checkout below it does not exist yet.
                "workdir": BUILDER_FOLDER,
                "mode": 0o600,
                "workerdest": target,
            }
            command = remotecommand.RemoteCommand("downloadFile", args)
            await self.runCommand(command)
            return not command.didFail()

    def order(self, record: BuildRecord) -> Path:
        """The path of this host's order. :raises NoSuchBuildError: when there is none for it."""
        if record.judged:
            raise NoSuchBuildError(f"build {record.id} is judged already: nothing that is built now can count")
        order = record.file("orders/{host}.json", self.host)
        if not order.exists():
            raise NoSuchBuildError(f"build {record.id} did not ask host {self.host}")
        return order

    async def run(self) -> int:
        """Hand over, or say why not."""
        try:
            record = self.record()
            order = self.order(record)
        except NoSuchBuildError as error:
            await self.say(f"no order for this host: {error}", str(error))
            return FAILURE
        for source, target in ((order, ORDER_FILE), (record.file("packages.lock"), LOCK_FILE)):
            if not await self._download(source, target):
                await self.say(f"could not hand over {target}")
                return FAILURE
        await self.say(f"order of {self.host} handed over")
        return SUCCESS


class HandoverTrial(Handover):
    """The order of a build that is made to explain a divergence, while its round is under way."""

    def order(self, record: BuildRecord) -> Path:
        """That round's order for this host."""
        return Round(record, self.getProperty(ROUND_PROPERTY)).order_of(self.host)


class HandoverWanted(Handover):
    """Write beside the worker's checkout which files' bytes are wanted, once the verdict has fallen."""

    description = ["asking for bytes"]

    async def run(self) -> int:
        """Hand over, or say why not."""
        try:
            wanted = self.record().file(WANTED_FILE)
        except NoSuchBuildError as error:
            await self.say(str(error))
            return FAILURE
        if not wanted.exists() or not await self._download(wanted, WANTED_FILE):
            await self.say("expected a list of wanted files to hand over, got none through")
            return FAILURE
        await self.say(f"{self.host} was asked for the bytes that differ")
        return SUCCESS
