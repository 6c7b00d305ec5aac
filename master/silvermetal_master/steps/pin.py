"""Step *pin*: from the tag to everything that every host is asked for.

Rules:

- The revision that came with the event is a hint; the step resolves the ref itself and writes the full commit into the
  property ``revision`` that everything after it uses.
- How a ref becomes a commit is :mod:`resolving`'s; who signed a tag is kept in the build's record (``tag.json``).
- An image that the commit leaves to ``docker/`` was made by the step before, and is pinned by its digest here.
- One nonce a host, 32 random bytes, new for every build.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SUCCESS
from silvermetal_proof import canonical
from twisted.internet.threads import deferToThread

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.enrolments import revoked_since
from silvermetal_master.errors import PinningError
from silvermetal_master.image_store import ImageStore, key_of
from silvermetal_master.pinning import Mirror, Pinned, pin
from silvermetal_master.settings import entry_file
from silvermetal_master.steps.of_build import BUILD_PROPERTY
from silvermetal_master.steps.resolving import ResolvingStep
from silvermetal_master.tag_signature import TagFacts


class Pin(ResolvingStep):
    """Resolve the ref, read the pins at its commit, and open the record of this build."""

    name = "pin"
    description = ["pinning every input"]
    haltOnFailure = True

    def __init__(
        self,
        *,
        recipe: str,
        workers: dict[str, str],
        build_timeout: int,
        config: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipe = recipe
        self.workers = workers
        self.build_timeout = build_timeout
        self.config = config

    def _asked(self) -> dict[str, str]:
        """Hosts to workers, without those that were revoked since the master began."""
        if self.config is None:
            return self.workers
        folder = Path(self.config)
        return {h: w for h, w in self.workers.items() if revoked_since(entry_file(folder, h)) is None}

    def _pin(self, build: str, ref: str, hint: str | None) -> tuple[Pinned, TagFacts | None]:
        """All of it, on a thread."""
        commit, mirror, tag = self.resolve(ref, hint)
        folder = self.store.folder(build)
        return pin(
            mirror=mirror, ref=ref, commit=commit, recipe_name=self.recipe, folder=folder, image_of=self._image_of
        ), tag

    def _image_of(self, mirror: Mirror, commit: str) -> str:
        """The image that was made from ``docker/`` at ``commit``. :raises PinningError: when none was."""
        made = ImageStore(self.store.path).made(key_of(mirror, commit))
        if made is None:
            raise PinningError(
                "config/builder-image.env leaves the image to docker/: expected a master that makes it, got one "
                "without [builder_image] in master.toml; add it there, or name a digest"
            )
        return made.reference

    async def run(self) -> int:
        """Pin, or fail with the reason."""
        ref = self.build.getSourceStamp("").branch or ""
        build = secrets.token_hex(16)
        try:
            hint = self.hint()
            pinned, tag = await deferToThread(self._pin, build, ref, hint)
            workers = self._asked()
            nonces = {host: secrets.token_hex(32) for host in workers}
            await deferToThread(
                self.store.open_build,
                build,
                pinned,
                repository=self.repository,
                workers=workers,
                nonces=nonces,
                timeout=self.build_timeout,
            )
            if tag is not None:
                BuildRecord(self.store.path / "builds" / build).write("tag.json", canonical.encode(tag.plain()))
        except (PinningError, OSError) as error:
            await self.say(f"cannot pin {ref}: {error}", str(error))
            self.note_failure(ref, str(error))
            return FAILURE
        signed = ""
        if tag is not None:
            signed = f"; signed by {tag.signer} ({tag.signature} {tag.key})" if tag.signer else "; not signed"
        self.setProperty(BUILD_PROPERTY, build, "pin")
        self.setProperty("commit", pinned.commit, "pin")
        packages = pinned.lock.count(b'"sha256"')
        await self.say(
            f"{ref} is commit {pinned.commit[:12]}; {packages} packages locked ({pinned.lock_origin}){signed}",
            f"ref      {ref}\ncommit   {pinned.commit}\nrecipe   {self.recipe}\npins     {pinned.pins.digest}\n"
            f"image    {pinned.pins.builder_image}\nepoch    {pinned.pins.source_date_epoch}\n"
            f"lock     {pinned.pins.lock} ({packages} packages, {pinned.lock_origin})\n",
        )
        return SUCCESS
