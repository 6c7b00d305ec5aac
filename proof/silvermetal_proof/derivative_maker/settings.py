"""The three pin files of ``silvermetal-base``, read by one parser.

Rules:

- Every key is documented in the file that has it. One that is unknown, missing or malformed is refused with file and
  line, expected and got; so is a timestamp that nobody filled in.
- A key of a later milestone is refused, and told where it belongs.
- mksquashfs gets no option that sets a time: live-build has set SOURCE_DATE_EPOCH by then, and with both mksquashfs
  refuses to work. It gets none that erases owners or attributes, which no comparison of two images notices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof import canonical
from silvermetal_proof.derivative_maker.scope import check_scope
from silvermetal_proof.derivative_maker.tags import TAGS
from silvermetal_proof.envfile import Setting, only, parse_env
from silvermetal_proof.errors import MalformedError

RECIPE = "silvermetal-base"
CONF = f"config/{RECIPE}.conf"
SNAPSHOT = "config/snapshot-pin.env"

_SIZE = r"[0-9]{1,4}[KM]"
_SQUASHFS = rf"-b {_SIZE}|-Xdict-size (?:[0-9]{{1,3}}%|{_SIZE})|-Xbcj [a-z0-9,]{{1,40}}|-no-exports|-no-recovery"
_NUMBER = "[0-9]{1,15}"
_KEYS = {
    "DERIVATIVE_MAKER_TAG": "|".join(re.escape(tag) for tag in TAGS),
    "DERIVATIVE_MAKER_SIGNER": "[0-9A-F]{40}",
    "DERIVATIVE_FLAVOR": "kicksecure-cli|kicksecure-lxqt",
    "DERIVATIVE_ARCHITECTURE": "amd64|arm64",
    "DERIVATIVE_FREEDOM": "true|false",
    "DERIVATIVE_HOSTNAME": r"[a-z][a-z0-9-]{0,62}",
    "BRAND_NAME": r"[A-Za-z][A-Za-z0-9]{0,31}",
    "BRAND_SITE": r"[a-z0-9][a-z0-9.-]{1,252}",
    "MKSQUASHFS_OPTIONS": rf"(?:(?:{_SQUASHFS})(?: (?:{_SQUASHFS}))*)?",
}
_OPTIONAL = {
    "AUDIT": "warn|fail",
    "HOST_CORES": _NUMBER,
    "HOST_DISK_MB": _NUMBER,
    "HOST_LOOP_DEVICES": _NUMBER,
    "HOST_MEMORY_MB": _NUMBER,
    "HOST_MODULES": r"[a-z0-9_-]+(?: [a-z0-9_-]+)*",
    "HOST_VOLUMES": r"[a-zA-Z0-9_.-]+(?: [a-zA-Z0-9_.-]+)*",
    "ISO_SIZE_FLOOR": _NUMBER,
}
"""Keys of every recipe, which the engine reads."""
_SNAPSHOT_KEYS = {
    "SNAPSHOT_TIMESTAMP": r"20[0-9]{2}[01][0-9][0-3][0-9]T[0-2][0-9][0-5][0-9][0-5][0-9]Z",
    "SUITE": "trixie",
}


@dataclass(frozen=True)
class BaseSettings:
    """What the two files say, by key; ``values`` are those of the recipe's own file."""

    values: Mapping[str, str]
    timestamp: str
    suite: str

    def __getitem__(self, key: str) -> str:
        return self.values[key]

    @property
    def tag(self) -> str:
        """Upstream's tag."""
        return self.values["DERIVATIVE_MAKER_TAG"]


def lock_bytes(settings: BaseSettings) -> bytes:
    """What stands in a package lock's place: canonical, so that a host can compare it with what it was handed."""
    architecture = settings["DERIVATIVE_ARCHITECTURE"]
    value = {"version": 1, "architecture": architecture, "suite": settings.suite, "snapshot": settings.timestamp}
    return canonical.encode(value)


def is_base(settings: Mapping[str, Setting]) -> bool:
    """Whether a recipe's file is one of derivative-maker's."""
    return any(key.startswith("DERIVATIVE_") for key in settings)


def _read(data: bytes, name: str, keys: Mapping[str, str], optional: Mapping[str, str]) -> dict[str, str]:
    settings = parse_env(data, name)
    check_scope(settings)
    only(settings, frozenset({**keys, **optional}), name)
    for key, form in {**keys, **{k: v for k, v in optional.items() if k in settings}}.items():
        if key not in settings:
            raise MalformedError(f"{name}: {key}", expected=form, got="no such line")
        if not re.fullmatch(form, settings[key].value):
            got = settings[key].value or "nothing; fill it in by a reviewed change"
            raise MalformedError(f"{settings[key].where}: {key}", expected=form, got=got)
    return {key: setting.value for key, setting in settings.items()}


def read_conf(conf: bytes) -> dict[str, str]:
    """Read ``config/silvermetal-base.conf``. :raises MalformedError: with file and line."""
    return _read(conf, CONF, _KEYS, _OPTIONAL)


def read_snapshot(data: bytes) -> tuple[str, str]:
    """Read ``config/snapshot-pin.env``: timestamp and suite. :raises MalformedError: with file and line."""
    pin = _read(data, SNAPSHOT, _SNAPSHOT_KEYS, {})
    return pin["SNAPSHOT_TIMESTAMP"], pin["SUITE"]


def read_settings(conf: bytes, snapshot: bytes) -> BaseSettings:
    """Read both files. :raises MalformedError: with file and line of what is not a pin."""
    return BaseSettings(read_conf(conf), *read_snapshot(snapshot))
