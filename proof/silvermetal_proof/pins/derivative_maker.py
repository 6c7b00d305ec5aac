"""The call of derivative-maker for ``silvermetal-base``: from two pinned files to argv, environment and sources file.

Rules:

- Pure: the same files and version give the same call. Every key is documented in ``config/silvermetal-base.conf``; one
  that is unknown, missing or malformed is refused with file and line, and so is a timestamp that nobody filled in.
- A lever is handed over by the way that arrives upstream: the snapshot as an own sources file, the version and the
  branding by environment. ``SOURCE_DATE_EPOCH`` and ``MKSQUASHFS_OPTIONS`` are not here, because upstream overwrites
  the one and its sudo drops the other.
- The scope is the base derivative: a key of a later milestone is refused, and told where it belongs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof.errors import MalformedError
from silvermetal_proof.pins.envfile import Setting, only, parse_env
from silvermetal_proof.pins.recipe import HOST_KEYS, check_host_needs

CONF = "config/silvermetal-base.conf"
SNAPSHOT = "config/snapshot-pin.env"
SOURCES_FILE = "/silvermetal/in/silvermetal.sources"
FRESHNESS = {"18.2.1.9-developers-only": "current", "18.2.2.1-developers-only": "current"}
"""By tag. ``current``, because the sources file is ours: upstream's ``frozen`` brings its own, or is not there."""

_FLAVORS = "kicksecure-cli|kicksecure-lxqt"
_NAME = r"[A-Za-z][A-Za-z0-9]{0,31}"
_KEYS = {
    "DERIVATIVE_MAKER_TAG": "|".join(re.escape(tag) for tag in FRESHNESS),
    "DERIVATIVE_FLAVOR": _FLAVORS,
    "DERIVATIVE_ARCHITECTURE": "amd64|arm64",
    "DERIVATIVE_FREEDOM": "true|false",
    "DERIVATIVE_HOSTNAME": r"[a-z][a-z0-9-]{0,62}",
    "BRAND_NAME": _NAME,
    "BRAND_SITE": r"[a-z0-9][a-z0-9.-]{1,252}",
}
_SNAPSHOT_KEYS = {
    "SNAPSHOT_TIMESTAMP": r"20[0-9]{2}[01][0-9][0-3][0-9]T[0-2][0-9][0-5][0-9][0-5][0-9]Z",
    "SUITE": "trixie",
}
_LATER = {
    "HARDENING": "the hardening overlays",
    "SBOM": "the bill of materials",
    "SIGNING": "the signing ceremony",
    "BROWSER": "SilverBrowser",
    "VPN": "SilverVPN",
    "SYNC": "SilverSync",
    "CHAT": "SilverChat",
    "INSTALLER": "the installer's branding",
    "UPDATE": "the update server",
}
_VERSION = re.compile(r"\A[0-9][0-9A-Za-z.+~-]{0,63}\Z")
_ARCHIVE = re.compile(r"\Ahttps?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._-]+)*\Z")


@dataclass(frozen=True)
class Call:
    """One call of derivative-maker. ``sources`` is the content of the file at :data:`SOURCES_FILE`."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    sources: str


def check_scope(settings: Mapping[str, Setting]) -> None:
    """:raises MalformedError: at the first key that belongs to a later milestone than the base derivative."""
    for key, setting in settings.items():
        for word in key.split("_"):
            if word in _LATER:
                raise MalformedError(
                    f"{setting.where}: {key} is out of the base derivative's scope (M1.1)",
                    expected=f"it in the recipe of a later milestone: {_LATER[word]}",
                    got=setting.value,
                )


def _read(data: bytes, name: str, keys: Mapping[str, str]) -> dict[str, str]:
    settings = parse_env(data, name)
    check_scope(settings)
    only(settings, frozenset(keys) | HOST_KEYS, name)
    check_host_needs(settings)
    for key, form in keys.items():
        if key not in settings:
            raise MalformedError(f"{name}: {key}", expected=form, got="no such line")
        if not re.fullmatch(form, settings[key].value):
            got = settings[key].value or "nothing; fill it in by a reviewed change"
            raise MalformedError(f"{settings[key].where}: {key}", expected=form, got=got)
    return {key: setting.value for key, setting in settings.items()}


def render_sources(archive: str, timestamp: str, suite: str) -> str:
    """The sources file. Upstream takes the first URI for the mirror, the second for security, the first suite."""
    parts = (("debian", f"{suite} {suite}-updates"), ("debian-security", f"{suite}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {archive}/{part}/{timestamp}/\nSuites: {suites}\n"
        "Components: main contrib non-free non-free-firmware\nCheck-Valid-Until: no\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for part, suites in parts
    )


def render(conf: bytes, snapshot: bytes, version: str, archive: str) -> Call:
    """Make the call. ``archive`` is where this machine finds snapshots of Debian, a URL without a slash at its end.

    :raises MalformedError: with file and line of what is not a pin.
    """
    values = _read(conf, CONF, _KEYS)
    pin = _read(snapshot, SNAPSHOT, _SNAPSHOT_KEYS)
    if not _VERSION.match(version):
        raise MalformedError("version of the derivative", expected="digits, letters and .+~-", got=version)
    if not _ARCHIVE.match(archive):
        raise MalformedError(
            "archive of snapshots", expected="https://host/path without a slash at its end", got=archive
        )
    argv: tuple[str, ...] = ("./derivative-maker", "--flavor", values["DERIVATIVE_FLAVOR"], "--target", "iso")
    argv += ("--arch", values["DERIVATIVE_ARCHITECTURE"], "--freedom", values["DERIVATIVE_FREEDOM"])
    argv += ("--freshness", FRESHNESS[values["DERIVATIVE_MAKER_TAG"]], "--repo", "false")
    argv += ("--remote-derivative-packages", "false", "--tb", "none", "--retry-max", "0", "--interactive", "false")
    argv += ("--hostname", values["DERIVATIVE_HOSTNAME"])
    environment = {
        "CI": "true",
        "SHORT_VMNAME": values["BRAND_NAME"],
        "SKIP_SCRIPTS": " prepare-release ",
        "build_skip_run_functions": "download_tpo_packages",
        "dist_build_interactive": "false",
        "dist_build_sources_list_primary": SOURCES_FILE,
        "dist_build_type_short_pretty": values["BRAND_NAME"],
        "dist_build_version": version,
        "project_clearnet": values["BRAND_SITE"],
    }
    return Call(argv, environment, render_sources(archive, pin["SNAPSHOT_TIMESTAMP"], pin["SUITE"]))
