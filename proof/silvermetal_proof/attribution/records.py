"""The data of an attribution: what is asked, which builds were made, and what they say.

Rules:

- A build is named by the factors that it takes from the *other* host; the rest is as the *reference* host has it. The
  factor :data:`ENVIRONMENT` is the machine itself: with it the build runs on the other host.
- The whole state is an :class:`Inquiry`: the next step is a function of it and of nothing else, so that an inquiry that
  was interrupted goes on.
- Nothing here is a verdict, and nothing here can become one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from silvermetal_proof.model import Hex64, Name, Record
from silvermetal_proof.statement.schema import BuildId
from silvermetal_proof.variation import Variation, differing, mixed

ENVIRONMENT = "environment"
"""The factor that stands for everything else of a host."""
MAX_INQUIRY_BYTES = 4 * 1024 * 1024
Factor = Annotated[str, Field(max_length=32, pattern=r"\A[a-z_0-9]+\z")]
Text = Annotated[str, Field(max_length=2048)]


class Question(Record):
    """What is asked: two hosts built other bytes, under these plans."""

    build: BuildId
    reference: Name
    other: Name
    plans: tuple[Variation, Variation]
    """The reference's planned variation, and the other's."""
    digests: tuple[Hex64, Hex64]
    """What the two built, SHA-256."""
    factors: tuple[Factor, ...]
    """In which the two differ; :data:`ENVIRONMENT` first where the two are two machines."""
    budget: Annotated[int, Field(ge=0, le=10_000)]
    """Builds that may be made, all together."""
    repeats: Annotated[int, Field(ge=1, le=100)]
    """How often each side is built again, and how often a flaky factor must show nothing before it is believed."""

    @classmethod
    def about(
        cls,
        *,
        build: str,
        hosts: tuple[str, str],
        plans: tuple[Variation, Variation],
        digests: tuple[str, str],
        budget: int,
        repeats: int,
    ) -> Question:
        """The question over two hosts; one name twice is one machine, whose environment cannot be guilty."""
        machine = (ENVIRONMENT,) if hosts[0] != hosts[1] else ()
        return cls(
            build=build,
            reference=hosts[0],
            other=hosts[1],
            plans=plans,
            digests=digests,
            factors=machine + differing(*plans),
            budget=budget,
            repeats=repeats,
        )

    def host_of(self, factors: frozenset[str]) -> str:
        """Where the build with these factors of the other host runs."""
        return self.other if ENVIRONMENT in factors else self.reference

    def variation_of(self, factors: frozenset[str]) -> Variation:
        """Under which variation it runs."""
        return mixed(*self.plans, sorted(factors - {ENVIRONMENT}))


class Tried(Record):
    """One build that was made for the inquiry."""

    factors: tuple[Factor, ...]
    """Those of the other host, in order."""
    digest: Hex64 | None = None
    problem: Text | None = None
    """Why there is no digest."""
    seconds: Annotated[int, Field(ge=0)] = 0


class Inquiry(Record):
    """A question and the builds that were made for it so far, in order."""

    question: Question
    tried: tuple[Tried, ...] = ()

    def with_tried(self, *more: Tried) -> Inquiry:
        """The inquiry with some builds more."""
        return self.model_copy(update={"tried": (*self.tried, *more)})

    @property
    def left(self) -> int:
        """Builds that may still be made."""
        return max(0, self.question.budget - len(self.tried))

    @classmethod
    def read(cls, data: bytes) -> Inquiry:
        """Read one; :raises MalformedError: with the path of what is wrong."""
        return cls.parse(data, limit=MAX_INQUIRY_BYTES, what="inquiry")


class Ask(Record):
    """The builds that are needed next, one a host; each is the set of the other host's factors."""

    builds: tuple[tuple[Factor, ...], ...]


class Kind(StrEnum):
    """What an inquiry can end with."""

    NONDETERMINISM = "NONDETERMINISM"
    """Neither host builds the same bytes twice: chance, whatever the hosts are."""
    FACTORS = "FACTORS"
    """Planned factors decide; the machine itself does not."""
    ENVIRONMENT = "ENVIRONMENT"
    """The machine itself decides, by something that no planned factor is."""
    BOTH = "BOTH"
    """Planned factors decide, and the machine itself, too."""
    OPEN = "OPEN"
    """The budget or the builds ended before it was known."""


class Finding(Record):
    """Factors that change the bytes: one by itself, or several that act only together."""

    factors: tuple[Factor, ...]
    flaky: bool = False
    """It shows in some builds and in others not."""
    seen: tuple[int, int] | None = None
    """Of a flaky one: how many builds with these factors had other bytes, of how many."""


class Conclusion(Record):
    """What the builds say. ``findings`` are proven by builds that differ in nothing else, whatever the kind."""

    kind: Kind
    findings: tuple[Finding, ...] = ()
    suspects: tuple[Factor, ...] = ()
    """Of OPEN: one or more of these act, or nothing is known of them."""
    cleared: tuple[Factor, ...] = ()
    """Taken all together they change nothing."""
    unstable: tuple[Name, ...] = ()
    """Hosts that built other bytes when they built again."""
    why: Text = ""
    """Of OPEN: why it ended; else what could not be looked at any more."""
    builds: int
    seconds: int

    @property
    def factors(self) -> tuple[str, ...]:
        """All factors that are named, once each."""
        return tuple(dict.fromkeys(f for finding in self.findings for f in finding.factors))
