"""A master whose tags are watched every second, with liars for hosts (``hostile.py``): a tag takes seconds.

Rules:

- There is a tag from before the service, ``v0-old``; the event of a push can be lost (:meth:`Tagged.no_event`).
- The master can be held at its steps (``holds.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from silvermetal_master.tag_book import TagBook
from silvermetal_proof.tags import TagEntry

from tests.support.holds import HOOK, Holds
from tests.support.hostile import Hostile
from tests.support.processes import Program, wait_until

OLD = "v0-old"


class Tagged(Hostile):
    """The service; ``extra`` is added to master.toml."""

    extra = "\n[reconcile]\nevery = 1\n"

    def write_settings(self, hosts: Sequence[str], **policy: int) -> None:
        super().write_settings(hosts, **policy)
        self.holds = Holds(self.basedir / "hold")
        cfg = self.config / "master.cfg"
        cfg.write_text(cfg.read_text() + HOOK)
        self.set(self.extra)

    def set(self, text: str, instead_of: str = "") -> None:
        """Change master.toml; it counts from the master's next start."""
        file = self.config / "master.toml"
        old = file.read_text()
        file.write_text(old.replace(instead_of, text) if instead_of else old + text)

    def make_repository(self) -> None:
        super().make_repository()
        with self.no_event():
            self.push_tag(OLD)

    @contextlib.contextmanager
    def no_event(self) -> Iterator[None]:
        """Pushes whose event is lost."""
        hook = self.repository / "hooks" / "post-receive"
        lost = hook.with_suffix(".lost")
        hook.rename(lost)
        try:
            yield
        finally:
            lost.rename(hook)

    @property
    def running_master(self) -> Program:
        assert self.master is not None
        return self.master

    def restart(self, how: str = "stop") -> None:
        """End the master and start it again, with its hosts: a liar does not come back by itself."""
        getattr(self.running_master, how)()
        self.holds.clear()
        for worker in self.workers.values():
            worker.stop()
        self.start()

    def commit(self, what: str) -> str:
        """A new commit on main, pushed."""
        (self.tree / "payload").write_text(f"{what}\n" * 4000)
        self.git("commit", "--quiet", "-am", what)
        self.git("push", "--quiet", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str, *argv: str, force: bool = False) -> str:
        """Tag and push; return what the remote's ref names now."""
        self.git("tag", *(["-f"] if force else []), *argv, name)
        self.git("push", "--quiet", *(["--force"] if force else []), "origin", f"refs/tags/{name}")
        return self.git("rev-parse", f"refs/tags/{name}")

    def entry(self, tag: str) -> TagEntry | None:
        """What the master knows of a tag."""
        return TagBook(self.state).entry(f"refs/tags/{tag}")

    def told(self, tag: str, word: str) -> str:
        """Wait for what became of a tag; return the sentence."""

        def there() -> list[str]:
            entry = self.entry(tag)
            return [line for line in (entry.told if entry is not None else ()) if word in line]

        wait_until(there, f"{word} told of {tag}", timeout=60, programs=[self.running_master])
        return there()[-1]

    def failure(self, tag: str) -> str:
        """Wait for the reason why a tag has no verdict."""
        ref = f"refs/tags/{tag}"
        wait_until(
            lambda: "failed" in (self.store_note(ref) or {}), f"a reason for {tag}", timeout=60,
            programs=[self.running_master],
        )  # fmt: skip
        return str((self.store_note(ref) or {})["failed"])

    def verifications(self, tag: str) -> list[dict[str, Any]]:
        """Every build of *verify* of a tag."""
        found = []
        for build in self.builds_of("verify"):
            request = self.api(f"buildrequests/{build['buildrequestid']}")["buildrequests"][0]
            buildset = self.api(f"buildsets/{request['buildsetid']}")["buildsets"][0]
            if any(stamp["branch"] == f"refs/tags/{tag}" for stamp in buildset["sourcestamps"]):
                found.append(build)
        return found

    def looked(self, times: int = 2) -> None:
        """Wait until the reconciler has looked; of two looks that end from now on, the second began after now."""
        mark = self.state / "tags" / "looked"
        for _ in range(times):
            before = mark.stat().st_mtime_ns if mark.exists() else 0
            wait_until(
                lambda before=before: mark.exists() and mark.stat().st_mtime_ns != before, "a look at the tags",
                timeout=60, programs=[self.running_master],
            )  # fmt: skip
