"""Steps of the builder ``publish``: *admit*, *fetch*, *assemble*, *release*, *shelve*; *start-publish* starts it.

Rules:

- Each step looks at the stored verdict again (H4): a forced or rebuilt build, or one with an edited property, gets no
  further than a real release would.
- Each step finds what an earlier try left and goes on from there; killed after any of them, the next try ends the same.
- Gitea's token is read in *release* alone, and is in no log.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SKIPPED, SUCCESS
from silvermetal_proof import ProofError
from silvermetal_proof.errors import printable
from twisted.internet.threads import deferToThread

from silvermetal_master import delivery, publishing
from silvermetal_master.build_store import NoSuchBuildError
from silvermetal_master.errors import PinningError, SettingsError
from silvermetal_master.gitea.client import GiteaClient, GiteaError
from silvermetal_master.gitea.converge import converge
from silvermetal_master.gitea.porter import LostError, Porter
from silvermetal_master.publishing import Admitted
from silvermetal_master.settings import GITEA_TOKEN, Settings, load
from silvermetal_master.shelf import ShelfError, shelve
from silvermetal_master.steps.of_build import StepOfBuild
from silvermetal_master.steps.rally import Rally

DELIVERY = "delivery.json"
CHECK_SECONDS = 3600
EXPECTED = (
    ProofError,
    NoSuchBuildError,
    PinningError,
    SettingsError,
    GiteaError,
    ShelfError,
    OSError,
    ValueError,
    RuntimeError,
)


class _Publishing(StepOfBuild):
    """A step that works on the admitted build. ``config`` is the folder of the master's settings."""

    haltOnFailure = True
    flunkOnFailure = True

    def __init__(self, *, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def _settings(self) -> Settings:
        return load(Path(self.config), judging=True)

    async def admitted(self) -> Admitted:
        """The build that is released, looked at again."""
        stamp = self.build.getSourceStamp("")
        settings = self._settings()
        return await deferToThread(
            publishing.admitted, settings, self.store, self.record(), stamp.branch or "", stamp.revision or ""
        )

    async def check_iso(self, path: Path, this: Admitted) -> None:
        """Hash the ISO in a process of its own. :raises ProofError: when it is not what every host signed."""
        porter = Porter(self.master.reactor)
        try:
            found = await porter.ask(publishing.order_to_check(path, this), seconds=CHECK_SECONDS)
        except LostError as error:
            raise RuntimeError(f"{path.name}: expected its digests, got {error}") from None
        finally:
            porter.close()
        publishing.check_digests(found, this)

    async def work(self) -> int:
        """What the step does; may raise what is expected to happen."""
        raise NotImplementedError

    async def run(self) -> int:
        """Do it, or fail with a sentence."""
        try:
            return await self.work()
        except EXPECTED as error:
            why = printable(str(error), 1000)
            await self.say(f"nothing is published: {why}"[:400], why)
            return FAILURE


class Admit(_Publishing):
    """May this be published?"""

    name = "admit"
    description = ["looking at the verdict again"]

    async def work(self) -> int:
        """Admit."""
        this = await self.admitted()
        await self.say(
            f"{this.verdict.ref} at {this.verdict.commit[:12]} may be published: {this.verdict.summary}"[:400]
        )
        return SUCCESS


class Fetch(Rally, _Publishing):
    """Let one host deliver the ISO to a receiver of its own, and check every byte."""

    name = "fetch"
    description = ["fetching the ISO"]
    run = _Publishing.run

    async def work(self) -> int:
        """Fetch, unless a checked ISO lies there."""
        this = await self.admitted()
        settings = self._settings()
        if this.iso.exists():
            await self.check_iso(this.iso, this)
            await self.say("the ISO lies here already, and is right")
            return SUCCESS
        incoming = this.folder / publishing.INCOMING
        host = self._host(sorted(this.statements))
        token = secrets.token_hex(32)
        worker = next(h.worker for h in settings.hosts if h.host == host)
        receiver = await deferToThread(
            delivery.open_receiver, settings, worker, token=token, target=incoming, size=this.size
        )
        try:
            url = delivery.address(settings)
            order = {"build": this.record.id, "host": host, "token": token, "url": url}
            this.record.write(DELIVERY, json.dumps(order, sort_keys=True).encode(), secret=True)
            self.setProperty("silvermetal_build", this.record.id, "fetch")
            self.schedulerNames = [f"{host}-delivers"]
            await self.rally()
        finally:
            this.record.file(DELIVERY).unlink(missing_ok=True)
            await deferToThread(delivery.close_receiver, receiver)
        got = incoming.stat().st_size if incoming.exists() else 0
        if got != this.size:
            raise RuntimeError(f"{host}: expected {this.size} bytes of the ISO, got {got}")
        try:
            await self.check_iso(incoming, this)
        except ProofError:
            incoming.unlink()
            raise
        incoming.rename(this.iso)
        await self.say(f"{host} delivered {got} bytes: what every host signed")
        return SUCCESS

    def _host(self, hosts: list[str]) -> str:
        """One that agrees and is connected; else the first."""
        settings = self._settings()
        names = {h.host: h.worker for h in settings.hosts}
        workers = self.master.workers.workers
        here = [h for h in hosts if (w := workers.get(names[h])) is not None and w.conn is not None]
        return (here or hosts)[0]

    def getCurrentSummary(self) -> dict[str, str]:
        """While waiting."""
        return {"step": "one host delivers the ISO"}


class Assemble(_Publishing):
    """Put the release's files together."""

    name = "assemble"
    description = ["putting the release together"]

    async def work(self) -> int:
        """Assemble."""
        this = await self.admitted()
        settings = self._settings()
        await self.check_iso(this.iso, this)
        assets = await deferToThread(publishing.assemble, settings, Path(self.state), this)
        await self.say(f"{len(assets)} files, listed and signed")
        return SUCCESS


class Release(_Publishing):
    """Draft, upload, download and hash, publish, read back."""

    name = "release"
    description = ["publishing on Gitea"]

    async def work(self) -> int:
        """Publish."""
        this = await self.admitted()
        settings = self._settings()
        gitea = settings.gitea
        if gitea is None:
            raise SettingsError(f"{settings.folder / 'master.toml'}: gitea: expected a table, got none")
        await self.check_iso(this.iso, this)
        assets = await deferToThread(publishing.assemble, settings, Path(self.state), this)
        token = (settings.secrets / GITEA_TOKEN).read_text(encoding="utf-8").strip()
        client = GiteaClient(self.master.reactor, gitea.url, gitea.owner, gitea.repository, token)
        tag = this.verdict.ref.removeprefix("refs/tags/")
        body = (this.folder / "HOW-TO-CHECK.md").read_text(encoding="utf-8")
        try:
            url = await converge(
                client,
                tag=tag,
                title=tag,
                body=body,
                commit=this.verdict.commit,
                assets=assets,
                claim=this.record.id,
            )
        finally:
            client.close()
        this.record.write("release-url", f"{url}\n".encode())
        await self.addURL("release", url)
        await self.say(f"published: {url}"[:400])
        return SUCCESS


class Shelve(_Publishing):
    """Put the release into the folder of static files, whole or not at all."""

    name = "shelve"
    description = ["publishing in the folder"]

    async def work(self) -> int:
        """Shelve."""
        this = await self.admitted()
        settings = self._settings()
        if settings.release is None:
            raise SettingsError(f"{settings.folder / 'master.toml'}: release: expected a table, got none")
        assets = await deferToThread(publishing.assemble, settings, Path(self.state), this)
        porter = Porter(self.master.reactor)
        try:
            shelf = await shelve(porter, Path(settings.release.folder), this.verdict.ref, assets)
        finally:
            porter.close()
        await self.say(f"published: {shelf}"[:400])
        return SUCCESS


class StartPublish(Rally):
    """At the end of ``verify``: start ``publish`` for a tag that was reproduced; nobody waits for it here."""

    name = "start-publish"
    description = ["starting the publication"]
    flunkOnFailure = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deadline=60, **kwargs)
        self.waitForFinish = False

    async def run(self) -> int:
        """Start it; whether it may be published it decides by itself."""
        record = self.record_or_none()
        if record is None or not record.file("ledger-index").exists() or not record.verdict.passed:
            await self.say("nothing to publish")
            return SKIPPED
        if not record.verdict.ref.startswith("refs/tags/"):
            await self.say("not a tag: nothing to publish")
            return SKIPPED
        result = await self.rally()
        await self.say("the publication is started")
        return result
