"""Step *pin*: from the tag to everything that every host is asked for.

Rules:

- The revision that came with the event is a hint; the step resolves the ref itself and writes the full commit into the
  property ``revision`` that everything after it uses.
- A source stamp with a patch is refused (`try`): what is built is what is in the repository.
- A tag that has a verdict, or that meant another commit when it was seen first, is never built at another commit.
- A tag's signature is checked as policy says; who signed stands in what is asked and in the verdict.
- One nonce a host, 32 random bytes, new for every build.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE, SUCCESS
from silvermetal_proof import ProofError
from silvermetal_proof.verdict import TagSeen
from twisted.internet.threads import deferToThread

from silvermetal_master.errors import PinningError
from silvermetal_master.pinning import Mirror, Pinned, pin, resolve
from silvermetal_master.steps.of_build import BUILD_PROPERTY, StepOfBuild
from silvermetal_master.tag_book import TagBook
from silvermetal_master.tag_signature import SignedTags, check_tag


class Pin(StepOfBuild):
    """Resolve the ref, read the pins at its commit, and open the record of this build."""

    name = "pin"
    description = ["pinning every input"]
    haltOnFailure = True

    def __init__(
        self,
        *,
        repository: str,
        recipe: str,
        workers: dict[str, str],
        build_timeout: int,
        signers: str = "signers",
        signed_tags: str = SignedTags.WHEN_PRESENT.value,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.repository = repository
        self.recipe = recipe
        self.workers = workers
        self.build_timeout = build_timeout
        self.signers = signers
        self.signed_tags = signed_tags
        self.resolved: str | None = None

    def _refuse_moved(self, ref: str, commit: str) -> None:
        """A tag that has a verdict names its commit for ever. :raises PinningError: when it names another one now."""
        judged = (self.store.newest(ref) or {}).get("build")
        if judged is None:
            return
        before = self.store.record(judged).request.commit
        if before != commit:
            raise PinningError(
                f"{ref}: expected {before}, for which it has a verdict, got {commit}: the tag was moved, and a moved "
                "tag is not built; give the new commit a tag of its own"
            )

    def _pin(self, build: str, ref: str, hint: str | None) -> tuple[Pinned, TagSeen | None]:
        """All of it, on a thread."""
        is_tag = ref.startswith("refs/tags/")
        object_, commit = resolve(self.repository, ref, hint)
        if is_tag:
            self.resolved = commit
            self._refuse_moved(ref, commit)
            TagBook(Path(self.state)).check(ref, object_, commit)
        elif hint:
            commit = hint
        mirror = Mirror(Path(self.state) / "mirror.git", self.repository)
        tag = None
        if is_tag:
            # Before config/ is read and before a lock is resolved: a stranger's tag costs the master nothing more.
            mirror.fetch(ref, commit)
            policy = SignedTags(self.signed_tags)
            tag = check_tag(mirror.path, ref, commit, signers=Path(self.signers), policy=policy)
        folder = self.store.folder(build)
        return pin(mirror=mirror, ref=ref, commit=commit, recipe_name=self.recipe, folder=folder), tag

    async def run(self) -> int:
        """Pin, or fail with the reason."""
        stamp = self.build.getSourceStamp("")
        ref = stamp.branch or ""
        build = secrets.token_hex(16)
        try:
            if stamp.patch is not None:
                raise PinningError("source stamp: expected a commit of the repository, got one with a patch")
            pinned, tag = await deferToThread(self._pin, build, ref, stamp.revision or None)
            page = await self.build.getUrl()
            nonces = {host: secrets.token_hex(32) for host in self.workers}
            await deferToThread(
                self.store.open_build,
                build,
                pinned,
                repository=self.repository,
                workers=self.workers,
                nonces=nonces,
                timeout=self.build_timeout,
                tag=tag,
                page=page,
            )
        except (PinningError, ProofError, OSError) as error:
            await self.say(f"cannot pin {ref}: {error}", str(error))
            self.note_failure(ref, str(error), commit=self.resolved, page=await self.build.getUrl())
            return FAILURE
        signed = f"; {tag.told}" if tag is not None else ""
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
