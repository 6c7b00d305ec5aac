"""Step *builder-image*: before anything is pinned, the image that the commit asks for is seen to.

Rules:

- Only where ``config/builder-image.env`` of the commit leaves the image to ``docker/``; a digest is taken as it is.
- What is made runs code of the commit on a host: so the ref is resolved, and the tag's signature checked, before.
- One ``docker/`` is made once; what it was is asked of the record, never of a colour (H1, H2).
- A registry or host that fails is said to be that (``INFRA``), and ends the build as an exception: nobody's commit is
  called bad for it. It is no end of the tag, so nothing is noted: the reconciler asks again, so often and so far apart
  as it does for whatever came to nothing, and so does the same event, or a person.
"""

from __future__ import annotations

from typing import Any

from buildbot.process.results import CANCELLED, EXCEPTION, FAILURE, SKIPPED, SUCCESS
from silvermetal_proof import ProofError
from silvermetal_proof.builder_image import ImageOrder
from silvermetal_proof.errors import printable
from silvermetal_proof.pins.pins import is_from_docker
from twisted.internet.threads import deferToThread

from silvermetal_master.errors import PinningError
from silvermetal_master.image_store import ImageStore, key_of
from silvermetal_master.steps.make_image import IMAGE_PROPERTY
from silvermetal_master.steps.rally import Rally
from silvermetal_master.steps.resolving import ResolvingStep


class BuilderImage(Rally, ResolvingStep):
    """Have the image made where it is not known yet."""

    name = "builder-image"
    description = ["seeing to the builder image"]
    haltOnFailure = True

    def __init__(self, *, repository_name: str, tries: int, pause: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repository_name = repository_name
        self.tries = tries
        self.pause = pause
        self.commit = ""
        self.key = ""

    @property
    def images(self) -> ImageStore:
        """The images that this master had made."""
        return ImageStore(self.store.path)

    def prepareSourcestampListForTrigger(self) -> list[dict[str, Any]]:
        """The resolved commit; the property ``commit`` is the pin step's to set."""
        (stamp,) = super().prepareSourcestampListForTrigger()
        return [{**stamp, "revision": self.commit}]

    def handed_on(self) -> dict[str, Any]:
        """Only the image's key travels."""
        return {IMAGE_PROPERTY: self.key}

    def _look(self, ref: str, hint: str | None) -> bool:
        """Whether an image is wanted that nobody made yet; on a thread. Sets commit and key."""
        self.commit, mirror, _ = self.resolve(ref, hint)
        mirror.fetch(ref, self.commit)
        image = mirror.file(self.commit, "config/builder-image.env")
        if image is None or not is_from_docker(image):
            return False
        self.key = key_of(mirror, self.commit)
        if self.images.made(self.key) is not None:
            return False
        self.images.write_order(
            ImageOrder(
                key=self.key,
                commit=self.commit,
                repository=self.repository_name,
                tries=self.tries,
                pause=self.pause,
            )
        )
        return True

    async def run(self) -> int:
        """Look, and have it made."""
        ref = self.build.getSourceStamp("").branch or ""
        try:
            hint = self.hint()
            wanted = await deferToThread(self._look, ref, hint)
        except (PinningError, ProofError, OSError) as error:
            await self.say(f"cannot pin {ref}: {error}", str(error))
            await self.no_verdict(ref, str(error))
            return FAILURE
        if not wanted:
            made = self.images.made(self.key) if self.key else None
            await self.say(f"made before: {made.reference}" if made else "the commit names its builder image")
            return SUCCESS if made else SKIPPED
        if await self.rally() == CANCELLED:
            await self.say("stopped before the builder image was made")
            return CANCELLED
        made = await deferToThread(self.images.made, self.key)
        if made is not None:
            await self.say(f"made for this commit: {made.reference}")
            return SUCCESS
        infra, why = await self._what_failed()
        said = f"{'INFRA: ' if infra else ''}no builder image: {why}"
        await self.say(said, said)
        if not infra:
            await self.no_verdict(ref, said)
        return EXCEPTION if infra else FAILURE

    async def _what_failed(self) -> tuple[bool, str]:
        """Whether the service is to blame, and the sentence of the step that failed."""
        if self.expired:
            return True, f"it was not made within {self.deadline} s; is the host that makes it connected?"
        for brid in self.brids:
            for build in await self.master.data.get(("buildrequests", brid, "builds")):
                for step in await self.master.data.get(("builds", build["buildid"], "steps")):
                    if step["results"] in (FAILURE, EXCEPTION):
                        return step["results"] == EXCEPTION, printable(step["state_string"], 400)
        return True, "the host that makes it ended without a word"
