"""The demo's git side: a developer's clone of this checkout's HEAD, and the bare repository that the hosts and the
master read.

- What is built is HEAD plus one commit that pins the builder image in config/builder-image.env; uncommitted changes
  are not in it. The commit's dates are HEAD's, so the same HEAD and the same image give the same commit, and the same
  ISO, in every run.
- The checkout is only read (a push out of it): no ref, no file, no configuration of it changes.
- The served repository answers by `git daemon` on the demo's own address alone. Its post-receive hook tells the
  master; what it tells is a hint, the master resolves the tag itself.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from silvermetal_demo.cell import Cell, Part
from silvermetal_demo.errors import SetupFailed

PIN = "config/builder-image.env"
BRANCH = "refs/heads/main"
WHO = {
    "GIT_AUTHOR_NAME": "SilverMetal demo",
    "GIT_AUTHOR_EMAIL": "demo@silvermetal.invalid",
    "GIT_COMMITTER_NAME": "SilverMetal demo",
    "GIT_COMMITTER_EMAIL": "demo@silvermetal.invalid",
}


class Repository:
    def __init__(self, folder: Path, cell: Cell, environment: dict[str, str]) -> None:
        self._cell = cell
        self._environment = environment | WHO
        self._developer = folder / "developer.git"
        self._parent = folder / "served"
        self.served = self._parent / "silvermetal.git"
        self.daemon: Part | None = None
        self.url = ""

    def _git(self, *arguments: str | Path, env: dict[str, str] | None = None, input_text: str | None = None) -> str:
        environment = self._environment | (env or {})
        return self._cell.run(["git", *arguments], timeout=300, env=environment, input_text=input_text).out.strip()

    def take(self, checkout: Path) -> str:
        """HEAD of the checkout into the developer's clone. Returns its commit."""
        self._parent.mkdir(parents=True)
        for bare in (self._developer, self.served):
            self._git("init", "--quiet", "--bare", "--initial-branch=main", bare)
            # A checkout that was cloned with --depth can be shown too.
            self._git("-C", bare, "config", "receive.shallowUpdate", "true")
        self._git("-C", self.served, "config", "uploadpack.allowAnySHA1InWant", "true")
        # The checkout may belong to the user who called sudo.
        trust = ("-c", f"safe.directory={checkout}")
        self._git(*trust, "-C", checkout, "push", "--quiet", self._developer, f"HEAD:{BRANCH}")
        return self._git("-C", self._developer, "rev-parse", BRANCH)

    def pin_and_tag(self, image: str, tag: str) -> str:
        """The commit that pins the image, and the annotated tag on it. Returns the commit."""
        developer = ("-C", self._developer)
        head = self._git(*developer, "rev-parse", BRANCH)
        before = self._git(*developer, "show", f"{head}:{PIN}")
        after, count = re.subn(r"(?m)^BUILDER_IMAGE=.*$", f"BUILDER_IMAGE={image}", before)
        if count != 1:
            raise SetupFailed(f"{PIN} at {head[:12]}: got {count} lines BUILDER_IMAGE=, expected one")
        date = self._git(*developer, "show", "--no-patch", "--format=%cI", head)
        env = {
            "GIT_INDEX_FILE": str(self._developer / "demo-index"),
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_DATE": date,
        }
        self._git(*developer, "read-tree", head, env=env)
        blob = self._git(*developer, "hash-object", "-w", "--stdin", env=env, input_text=after + "\n")
        self._git(*developer, "update-index", "--cacheinfo", f"100644,{blob},{PIN}", env=env)
        tree = self._git(*developer, "write-tree", env=env)
        message = f"Pin the builder image for {tag}"
        commit = self._git(*developer, "commit-tree", tree, "-p", head, "-m", message, env=env)
        self._git(*developer, "update-ref", BRANCH, commit)
        self._git(*developer, "tag", "--annotate", "--message", f"SilverMetal {tag}", tag, commit, env=env)
        return commit

    def push(self, tag: str) -> str:
        """What a developer does. Returns what the hook said."""
        said: list[str] = []
        # The branch first: of two refs at once, git refuses the second where the checkout was shallow.
        for ref in (BRANCH, f"refs/tags/{tag}"):
            done = self._cell.run(
                ["git", "-C", self._developer, "push", self.served, f"{ref}:{ref}"],
                timeout=120,
                # The hook asks the master, on an address of this machine: no proxy has business there.
                env=self._environment | {"no_proxy": "*", "NO_PROXY": "*"},
            )
            said += (line for line in done.err.splitlines() if line.startswith("remote:"))
        return "\n".join(line.removeprefix("remote:").strip() for line in said)

    def serve(self, address: str, port: int, log: Path) -> None:
        command: list[str | Path] = ["git", "daemon", "--reuseaddr", "--export-all", "--informative-errors"]
        command += [f"--base-path={self._parent}", f"--listen={address}", f"--port={port}", self._parent]
        self.daemon = self._cell.spawn(
            "the git daemon",
            command,
            log=log,
            env=self._environment,
        )
        self.url = f"git://{address}:{port}/{self.served.name}"

    def tell(self, command: list[str]) -> None:
        """Install the hook that runs `command` with the lines "<old> <new> <ref>" on its standard input."""
        hook = self.served / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n")
        hook.chmod(0o755)
