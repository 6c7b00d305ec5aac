"""Step *checkout*: a fresh clone of the commit, with submodules only where the recipe is built from them.

Rules:

- Whether submodules are fetched is read from this build's own record: a recipe that needs none asks no other server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.process.results import FAILURE
from buildbot.steps.source.git import Git
from silvermetal_proof import ProofError
from silvermetal_proof.order import MAX_ORDER_BYTES
from silvermetal_proof.pins import Pins
from twisted.internet.defer import succeed

from silvermetal_master.build_store import BuildRecord, BuildStore, NoSuchBuildError
from silvermetal_master.steps.of_build import BUILD_PROPERTY


def needs_submodules(record: BuildRecord) -> bool:
    """Whether the recipe of this build is made from a submodule. :raises ProofError: when its pins cannot be read."""
    data = record.file("pins.json").read_bytes()
    return Pins.parse(data, limit=MAX_ORDER_BYTES, what="pins.json").derivative_maker is not None


class Checkout(Git):
    """Buildbot's Git step, told by the pins whether to fetch submodules. ``state`` is the master's own folder."""

    name = "checkout"
    description = ["checking out the commit"]
    descriptionDone = ["the commit is checked out"]
    haltOnFailure = True

    def __init__(self, *, state: str, **kwargs: Any) -> None:
        super().__init__(mode="full", method="clobber", alwaysUseLatest=False, logEnviron=False, **kwargs)
        self.state = state

    def run_vc(self, branch: str, revision: str, patch: Any) -> Any:
        """Clone, or say why the record does not tell how."""
        try:
            self.submodules = needs_submodules(BuildStore(Path(self.state)).record(self.getProperty(BUILD_PROPERTY)))
        except (NoSuchBuildError, ProofError, OSError) as error:
            self.descriptionDone = [f"no record of this build: {error}"]
            return succeed(FAILURE)
        return super().run_vc(branch, revision, patch)
