"""What the steps share that go from a tag or a person's word to a commit: it is resolved, and checked, by the master.

Rules:

- The revision that came with the event is a hint; a source stamp with a patch is refused (`try`): what is built is what
  is in the repository.
- A tag that has a verdict, or that meant another commit when it was seen first, is never built at another commit.
- A tag's signature is checked as policy says, before anything of the commit is read or run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silvermetal_proof.verdict import TagSeen

from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror, resolve
from silvermetal_master.steps.of_build import StepOfBuild
from silvermetal_master.tag_book import TagBook
from silvermetal_master.tag_signature import SignedTags, check_tag


class ResolvingStep(StepOfBuild):
    """A step that resolves the ref of its build."""

    def __init__(
        self,
        *,
        repository: str,
        signers: str = "signers",
        signed_tags: str = SignedTags.WHEN_PRESENT.value,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.repository = repository
        self.signers = signers
        self.signed_tags = signed_tags
        self.resolved: str | None = None
        """The commit, as soon as it is known, of a tag that may still be refused."""

    def hint(self) -> str | None:
        """The revision that the event or a person named. :raises PinningError: when a patch came with it."""
        stamp = self.build.getSourceStamp("")
        if stamp.patch is not None:
            raise PinningError("source stamp: expected a commit of the repository, got one with a patch")
        return stamp.revision or None

    async def no_verdict(self, ref: str, why: str) -> None:
        """Note why the ref has no verdict, for whoever waits and whoever is told."""
        self.note_failure(ref, why, commit=self.resolved, page=await self.build.getUrl())

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

    def resolve(self, ref: str, hint: str | None) -> tuple[str, Mirror, TagSeen | None]:
        """The commit, the mirror to read it in, and who signed the tag; on a thread. :raises PinningError: with why."""
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
        return commit, mirror, tag
