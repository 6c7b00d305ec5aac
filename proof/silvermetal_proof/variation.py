"""Planned variation: what one host does otherwise than the others on purpose, so that a leak of it shows.

Rules:

- A factor is outside what the pins fix: a recipe whose levers hold gives the same bytes under any of them.
- A factor that is not named is left as the host has it. Values are strict: what ``silvermetal-vary`` cannot do is
  refused here, or by the host before it builds.
- It travels with the order and comes back signed, as the host found it applied; it is never an input, so never drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from silvermetal_proof.model import Record

_Relative = Annotated[
    str, StringConstraints(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,60}(/[A-Za-z0-9][A-Za-z0-9_-]{0,60}){0,7}\z")
]
_HostName = Annotated[str, StringConstraints(pattern=r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z")]
_Umask = Annotated[str, StringConstraints(pattern=r"\A0[0-7]{3}\z")]
_Zone = Annotated[
    str, StringConstraints(pattern=r"\A[A-Za-z][A-Za-z0-9+_-]{0,30}(/[A-Za-z][A-Za-z0-9+_-]{0,30}){0,2}\z")
]
_Locale = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z][A-Za-z0-9_.@-]{0,40}\z")]
MAX_SHIFT = 20 * 366 * 86400
"""Seconds; further away, certificates, file systems and tools fail for reasons of their own."""


class Variation(Record):
    """The factors of one build; None is "as the host has it"."""

    path: _Relative | None = None
    """Where the checkout is built, below a folder of the build's own."""
    host_name: _HostName | None = None
    user: Annotated[int, Field(ge=1, le=65533)] | None = None
    """The user's and the group's number, in a user namespace: no account is needed."""
    umask: _Umask | None = None
    time_zone: _Zone | None = None
    """``TZ``."""
    locale: _Locale | None = None
    """``LANG`` and ``LC_ALL``; the host must have it."""
    cores: Annotated[int, Field(ge=1, le=1024)] | None = None
    clock_shift: Annotated[int, Field(ge=-MAX_SHIFT, le=MAX_SHIFT)] | None = None
    """Seconds that the clock is ahead (below zero: behind), by faketime."""
    directory_order: Literal["shuffled", "reversed"] | None = None
    """In which order a folder's entries come, by disorderfs."""
    personality: Literal["uname26", "linux32"] | None = None
    """What ``uname`` says of the kernel: a release 2.6.x, or a 32-bit machine."""
    hash_seed: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    """``PERL_HASH_SEED`` and ``PYTHONHASHSEED``."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ``silvermetal-vary`` is called with, ``NAME=VALUE`` each."""
        return tuple(f"{name}={value}" for name, value in self.plain().items())

    @classmethod
    def of_arguments(cls, arguments: Iterable[str]) -> Self:
        """Read ``NAME=VALUE`` words; :raises MalformedError: with the name of what is wrong."""
        values: dict[str, str | int] = {}
        for argument in arguments:
            name, _, value = argument.partition("=")
            values[name] = int(value) if name in NUMBERS and value.lstrip("+-").isdigit() else value
        return cls.from_plain(values, what="variation")

    def __bool__(self) -> bool:
        """Whether anything is varied."""
        return bool(self.plain())


FACTORS = tuple(Variation.model_fields)
"""All names, in the order in which they are told."""
NUMBERS = frozenset({"user", "cores", "clock_shift", "hash_seed"})

MEANINGS = {
    "path": "the build's path",
    "host_name": "the host's name",
    "user": "the user",
    "umask": "the umask",
    "time_zone": "the time zone",
    "locale": "the locale",
    "cores": "the number of cores",
    "clock_shift": "the clock",
    "directory_order": "the order of directories",
    "personality": "what the kernel says of itself",
    "hash_seed": "the hash seed",
}
"""Factor to what people call it."""


def differing(a: Variation, b: Variation) -> tuple[str, ...]:
    """The factors in which two plans differ, in the order of :data:`FACTORS`."""
    return tuple(name for name in FACTORS if getattr(a, name) != getattr(b, name))


def mixed(base: Variation, other: Variation, factors: Iterable[str]) -> Variation:
    """``base`` with the values of ``other`` for these factors."""
    return base.model_copy(update={name: getattr(other, name) for name in factors})
