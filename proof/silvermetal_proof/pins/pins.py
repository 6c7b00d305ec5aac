"""Pins: everything beside the commit that decides bytes, and the refusal of what is not a pin.

Rules:

- A builder image is a pin only by digest (``name@sha256:…`` or the image id ``sha256:…``); a tag names whatever it
  names today.
- ``SOURCE_DATE_EPOCH`` is the commit's time unless ``config/source-date-epoch.env`` overrides it
  (https://reproducible-builds.org/specs/source-date-epoch/: seconds, UTC). For a recipe of derivative-maker it is the
  date of upstream's changelog, and a setting that says otherwise is refused.
- All pins have one canonical digest, which statements and verdicts carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from silvermetal_proof.derivative_maker.epoch import check_epoch
from silvermetal_proof.derivative_maker.settings import read_snapshot
from silvermetal_proof.digest import sha256
from silvermetal_proof.envfile import Setting, only, parse_env
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.model import Commit, Line, Name, Record, Sha256
from silvermetal_proof.pins.recipe import Recipe
from silvermetal_proof.pins.snapshot import SnapshotLock, Timestamp

_IMAGE = re.compile(r"\A(?:(?P<name>[a-z0-9][a-z0-9._:/-]{0,200})@)?(?P<digest>sha256:[0-9a-f]{64})\Z")
FROM_DOCKER = "docker/"
"""The word by which a commit asks for the image that its own ``docker/`` makes; the master pins its digest then."""
_IMAGE_FILE = "config/builder-image.env"
MAX_EPOCH = 4102444800
"""2100-01-01: a later epoch is a mistake (milliseconds, most often)."""


class Pins(Record):
    """The pins of one build."""

    version: Literal[1] = 1
    recipe: Name
    recipe_conf: Sha256
    """Digest of ``config/<recipe>.conf`` at the commit."""
    source_date_epoch: Annotated[int, Field(ge=0, lt=MAX_EPOCH)]
    builder_image: Line
    lock: Sha256
    """Digest of the package lock, or of the snapshot that stands in its place."""
    snapshot: Timestamp | None = None
    """The moment of Debian's archive that all packages come from, for a recipe without a package lock."""
    derivative_maker: Commit | None = None
    """The commit of derivative-maker, for a recipe that it makes."""
    settings: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=32768)]]
    """Every further setting of the recipe that decides bytes, as it stands in the file."""

    @property
    def digest(self) -> str:
        """The one digest of all pins."""
        return sha256(self.encode())


def parse_image(setting: Setting) -> str:
    """Return the image reference; :raises MalformedError: when it is not pinned by digest."""
    if _IMAGE.match(setting.value):
        return setting.value
    if setting.value == FROM_DOCKER:
        raise MalformedError(
            f"{setting.where}: BUILDER_IMAGE is left to docker/",
            expected="a master that makes it ([builder_image] in master.toml), or a digest",
            got=setting.value,
        )
    if not setting.value:
        raise MalformedError(
            f"{setting.where}: BUILDER_IMAGE is not pinned",
            expected="name@sha256:<64 hex> or sha256:<64 hex>; `scripts/bootstrap-builder.sh --pin` fills it",
            got="nothing",
        )
    raise MalformedError(
        f"{setting.where}: BUILDER_IMAGE is not a pin",
        expected=f"a digest; `docker image inspect --format '{{{{.Id}}}}' {setting.value}` finds it",
        got=setting.value,
    )


def is_from_docker(image: bytes) -> bool:
    """Whether ``config/builder-image.env`` leaves the image to ``docker/`` of its commit."""
    setting = parse_env(image, _IMAGE_FILE).get("BUILDER_IMAGE")
    return setting is not None and setting.value == FROM_DOCKER


def asked_epoch(data: bytes, name: str) -> int | None:
    """The epoch that the file asks for, in seconds; None when it leaves the choice. :raises MalformedError: else."""
    settings = parse_env(data, name)
    only(settings, frozenset({"SOURCE_DATE_EPOCH"}), name)
    setting = settings.get("SOURCE_DATE_EPOCH")
    if setting is None or not setting.value:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", setting.value) or int(setting.value) >= MAX_EPOCH:
        raise MalformedError(
            f"{setting.where}: SOURCE_DATE_EPOCH", expected=f"seconds since 1970 below {MAX_EPOCH}", got=setting.value
        )
    return int(setting.value)


def parse_epoch(data: bytes, name: str, commit_time: int) -> int:
    """Return the epoch in seconds: what the file says, else the commit's time."""
    asked = asked_epoch(data, name)
    return commit_time if asked is None else asked


def snapshot_lock(recipe: Recipe, snapshot: bytes) -> SnapshotLock:
    """What stands in a package lock's place, from ``config/snapshot-pin.env``. :raises MalformedError: at no pin."""
    timestamp, suite = read_snapshot(snapshot)
    value = {"version": 1, "architecture": recipe.architecture, "suite": suite, "snapshot": timestamp}
    return SnapshotLock.from_plain(value, what="snapshot")


@dataclass(frozen=True)
class Upstream:
    """What derivative-maker's own tree decides: its commit, and the date of its changelog in seconds since 1970."""

    commit: str
    epoch: int


def make_pins(
    *,
    recipe: Recipe,
    epoch: bytes,
    image: bytes,
    commit_time: int,
    lock: str,
    snapshot: bytes | None = None,
    upstream: Upstream | None = None,
) -> Pins:
    """Gather the pins of one build from the files at its commit.

    ``epoch``, ``image`` and ``snapshot`` are the bytes of ``source-date-epoch.env``, ``builder-image.env`` and
    ``snapshot-pin.env`` in ``config/``; ``commit_time`` is in seconds; ``lock`` is the lock's digest. A recipe of
    derivative-maker needs the last two.
    :raises MalformedError: with file and line of whatever is not a pin.
    """
    epoch_name = "config/source-date-epoch.env"
    images = parse_env(image, _IMAGE_FILE)
    only(images, frozenset({"BUILDER_IMAGE"}), _IMAGE_FILE)
    values: dict[str, Any] = {
        "recipe": recipe.name,
        "recipe_conf": recipe.digest,
        "source_date_epoch": parse_epoch(epoch, epoch_name, commit_time),
        "builder_image": parse_image(images.get("BUILDER_IMAGE", Setting("", _IMAGE_FILE))),
        "lock": lock,
        "settings": recipe.settings,
    }
    if recipe.base:
        if snapshot is None or upstream is None:
            raise MalformedError(
                f"recipe {recipe.name}", expected="a snapshot and a tree of derivative-maker", got="none"
            )
        values["snapshot"] = snapshot_lock(recipe, snapshot).snapshot
        values["derivative_maker"] = upstream.commit
        values["source_date_epoch"] = check_epoch(asked_epoch(epoch, epoch_name), upstream.epoch, epoch_name)
    return Pins.from_plain(values, what="pins")
