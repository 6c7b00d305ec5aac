"""Step *pin*: from the tag to everything that every host is asked for.

Rules:

- The revision that came with the event is a hint; the step resolves the ref itself and writes the full commit into the
  property ``revision`` that everything after it uses.
- A source stamp with a patch is refused (`try`): what is built is what is in the repository.
- One nonce a host, 32 random bytes, new for every build.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SUCCESS
from twisted.internet.threads import deferToThread

from silvermetal_master.errors import PinningError
from silvermetal_master.pinning import Mirror, Pinned, pin, resolve_ref
from silvermetal_master.steps.of_build import BUILD_PROPERTY, StepOfBuild


class Pin(StepOfBuild):
    """Resolve the ref, read the pins at its commit, and open the record of this build."""

    name = "pin"
    description = ["pinning every input"]
    haltOnFailure = True

    def __init__(
        self, *, repository: str, recipe: str, workers: dict[str, str], build_timeout: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.repository = repository
        self.recipe = recipe
        self.workers = workers
        self.build_timeout = build_timeout

    def _pin(self, build: str, ref: str, hint: str | None) -> Pinned:
        """All of it, on a thread."""
        commit = resolve_ref(self.repository, ref, hint)
        if hint and not ref.startswith("refs/tags/"):
            commit = hint
        mirror = Mirror(Path(self.state) / "mirror.git", self.repository)
        return pin(mirror=mirror, ref=ref, commit=commit, recipe_name=self.recipe, folder=self.store.folder(build))

    async def run(self) -> int:
        """Pin, or fail with the reason."""
        stamp = self.build.getSourceStamp("")
        ref = stamp.branch or ""
        build = secrets.token_hex(16)
        try:
            if stamp.patch is not None:
                raise PinningError("source stamp: expected a commit of the repository, got one with a patch")
            pinned = await deferToThread(self._pin, build, ref, stamp.revision or None)
            nonces = {host: secrets.token_hex(32) for host in self.workers}
            await deferToThread(
                self.store.open_build,
                build,
                pinned,
                repository=self.repository,
                workers=self.workers,
                nonces=nonces,
                timeout=self.build_timeout,
            )
        except (PinningError, OSError) as error:
            await self.say(f"cannot pin {ref}: {error}", str(error))
            self.note_failure(ref, str(error))
            return FAILURE
        self.setProperty(BUILD_PROPERTY, build, "pin")
        self.setProperty("commit", pinned.commit, "pin")
        packages = pinned.lock.count(b'"sha256"')
        await self.say(
            f"{ref} is commit {pinned.commit[:12]}; {packages} packages locked ({pinned.lock_origin})",
            f"ref      {ref}\ncommit   {pinned.commit}\nrecipe   {self.recipe}\npins     {pinned.pins.digest}\n"
            f"image    {pinned.pins.builder_image}\nepoch    {pinned.pins.source_date_epoch}\n"
            f"lock     {pinned.pins.lock} ({packages} packages, {pinned.lock_origin})\n",
        )
        return SUCCESS
