"""Step *pin*: from the tag to everything that every host is asked for.

Rules:

- The revision that came with the event is a hint; the step resolves the ref itself and writes the full commit into the
  property ``revision`` that everything after it uses.
- How a ref becomes a commit is :mod:`resolving`'s; who signed a tag stands in what is asked and in the verdict.
- An image that the commit leaves to ``docker/`` was made by the step before, and is pinned by its digest here.
- One nonce a host, 32 random bytes, new for every build.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SUCCESS
from silvermetal_proof import ProofError
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict import TagSeen
from twisted.internet.threads import deferToThread

from silvermetal_master.enrolments import revoked_since
from silvermetal_master.errors import PinningError
from silvermetal_master.image_store import ImageStore, key_of
from silvermetal_master.mirror import Mirror
from silvermetal_master.pinning import Pinned, pin
from silvermetal_master.settings import entry_file
from silvermetal_master.steps.of_build import BUILD_PROPERTY
from silvermetal_master.steps.resolving import ResolvingStep


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
        variations: dict[str, dict[str, Any]] | None = None,
        config: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipe = recipe
        self.workers = workers
        self.build_timeout = build_timeout
        self.variations = variations or {}
        self.config = config

    def _asked(self) -> dict[str, str]:
        """Hosts to workers, without those that were revoked since the master began."""
        if self.config is None:
            return self.workers
        folder = Path(self.config)
        return {h: w for h, w in self.workers.items() if revoked_since(entry_file(folder, h)) is None}

    def _pin(self, build: str, ref: str, hint: str | None) -> tuple[Pinned, TagSeen | None]:
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
            page = await self.build.getUrl()
            nonces = {host: secrets.token_hex(32) for host in workers}
            await deferToThread(
                self.store.open_build,
                build,
                pinned,
                repository=self.repository,
                workers=workers,
                nonces=nonces,
                timeout=self.build_timeout,
                tag=tag,
                page=page,
                variations={
                    h: Variation.from_plain(v, what=f"variation of {h}")
                    for h, v in self.variations.items()
                    if h in workers
                },
            )
        except (PinningError, ProofError, OSError) as error:
            await self.say(f"cannot pin {ref}: {error}", str(error))
            await self.no_verdict(ref, str(error))
            return FAILURE
        signed = f"; {tag.told}" if tag is not None else ""
        self.setProperty(BUILD_PROPERTY, build, "pin")
        self.setProperty("commit", pinned.commit, "pin")
        await self.say(
            f"{ref} is commit {pinned.commit[:12]}; {pinned.inputs}{signed}",
            f"ref      {ref}\ncommit   {pinned.commit}\nrecipe   {self.recipe}\npins     {pinned.pins.digest}\n"
            f"image    {pinned.pins.builder_image}\nepoch    {pinned.pins.source_date_epoch}\n"
            f"lock     {pinned.pins.lock} ({pinned.inputs})\n"
            + "".join(f"{path} {commit}\n" for path, commit in sorted(pinned.submodules.items())),
        )
        return SUCCESS
