"""The order: what the master hands to one worker for one build, as one file.

Rules:

- A worker gets its own nonce and nobody else's, and the public half of the build's sealing key.
- Whatever the worker does is checked against the order again when its statement comes back; the order grants nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from silvermetal_proof.model import Commit, Hex64, Line, Name, Record
from silvermetal_proof.pins.pins import Pins
from silvermetal_proof.statement.schema import BuildId, ExternalParameters, Ref
from silvermetal_proof.variation import Variation

MAX_ORDER_BYTES = 1024 * 1024


class Order(Record):
    """One host's order for one build."""

    version: Literal[1] = 1
    build: BuildId
    host: Name
    worker: Name
    repository: Line
    ref: Ref
    commit: Commit
    recipe: Name
    pins: Pins
    nonce: Hex64
    seal_key: Hex64
    timeout: Annotated[int, Field(ge=10, le=7 * 86400)]
    """Seconds that the build itself may take."""
    variation: Variation | None = None
    """What this host does otherwise on purpose."""
    attribution: BuildId | None = None
    """The diverged build that this one is to explain; then the statement says so and no verdict takes it."""

    @classmethod
    def read(cls, data: bytes) -> Order:
        """Read an order; :raises MalformedError: with the path of what is wrong."""
        return cls.parse(data, limit=MAX_ORDER_BYTES, what="order")

    @property
    def parameters(self) -> ExternalParameters:
        """The part of the order that a statement repeats."""
        return ExternalParameters(repository=self.repository, ref=self.ref, commit=self.commit, recipe=self.recipe)
