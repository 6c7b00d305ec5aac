"""The call of derivative-maker: from the pins to argv, environment, sources file, package cache and excludes.

Rules:

- Pure: the same settings, version and archive give the same call.
- A lever is handed over by the way that arrives upstream: the snapshot as an own sources file, the version and the
  branding by environment, mksquashfs' options past sudo by a variable that sudo is told to keep, the excludes as a file
  that live-build reads. ``SOURCE_DATE_EPOCH`` is not here, because upstream overwrites it from its own changelog.
- The image learns nothing of where a host finds its packages: every host's sources name the cache on its own loopback.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof.derivative_maker.settings import BaseSettings
from silvermetal_proof.derivative_maker.tags import EXCLUDES, TAGS
from silvermetal_proof.errors import MalformedError

SOURCES_FILE = "/silvermetal/in/silvermetal.sources"
CACHE_PORT = 9977
"""Upstream's own port for its cache, which some of its files name."""
KEPT = ("MKSQUASHFS_OPTIONS",)
"""Variables that sudo keeps beside those that upstream names."""
_VERSION = re.compile(r"\A[0-9][0-9A-Za-z.+~-]{0,63}\Z")
_ARCHIVE = re.compile(r"\Ahttps?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._-]+)*\Z")
_COMMIT = re.compile(r"\A[0-9a-f]{40}\Z")
_PARTS = (("debian", "{suite} {suite}-updates"), ("debian-security", "{suite}-security"))


@dataclass(frozen=True)
class Call:
    """One call of derivative-maker, and the files that it reads."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    sources: str
    """The content of the file at :data:`SOURCES_FILE`."""
    cache: str
    """The configuration of the package cache (approx.conf(5))."""
    excludes: str | None
    """Where in a version's output the list of excludes goes; None when the tag has no place for one."""
    iso: str
    """The image, below the folder of all output."""
    version: str
    systemd: bool
    """Whether the container must have systemd as PID 1."""


def version_of(settings: BaseSettings, commit: str) -> str:
    """The version of this derivative: upstream's, and our commit's first 12 digits. No clone's tags decide it."""
    if not _COMMIT.match(commit):
        raise MalformedError("commit", expected="40 hex digits", got=commit)
    return f"{settings.tag.removesuffix('-developers-only')}-{commit[:12]}"


def render_sources(timestamp: str, suite: str) -> str:
    """The sources file. Upstream takes the first URI for the mirror, the second for security, the first suite."""
    return "\n".join(
        f"Types: deb deb-src\nURIs: http://127.0.0.1:{CACHE_PORT}/{part}-{timestamp}/\n"
        f"Suites: {suites.format(suite=suite)}\n"
        "Components: main contrib non-free non-free-firmware\nEnabled: yes\nCheck-Valid-Until: no\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for part, suites in _PARTS
    )


def render_cache(archive: str, timestamp: str) -> str:
    """The cache's configuration: one name a snapshot, so that a kept file is never another snapshot's."""
    lines = [f"{part}-{timestamp} {archive}/{part}/{timestamp}" for part, _ in _PARTS]
    return "\n".join([*lines, "$cache /var/cache/approx", "$verbose true", ""])


def render(settings: BaseSettings, version: str, archive: str) -> Call:
    """Make the call. ``archive`` is where this machine finds snapshots of Debian, a URL without a slash at its end.

    :raises MalformedError: when version or archive are none.
    """
    if not _VERSION.match(version):
        raise MalformedError("version of the derivative", expected="digits, letters and .+~-", got=version)
    if not _ARCHIVE.match(archive):
        raise MalformedError(
            "archive of snapshots", expected="https://host/path without a slash at its end", got=archive or "nothing"
        )
    tag = TAGS[settings.tag]
    argv: tuple[str, ...] = ("./derivative-maker", "--flavor", settings["DERIVATIVE_FLAVOR"], "--target", "iso")
    argv += ("--arch", settings["DERIVATIVE_ARCHITECTURE"], "--freedom", settings["DERIVATIVE_FREEDOM"])
    argv += ("--freshness", tag.freshness, "--repo", "false")
    argv += ("--remote-derivative-packages", "false", "--tb", "none", "--retry-max", "0", "--interactive", "false")
    argv += ("--hostname", settings["DERIVATIVE_HOSTNAME"])
    environment = {
        "APPROX_PROXY_ENABLE": "no",
        # Upstream takes CI for its own service, where it makes a dry run of every flavor but this one.
        **({"CI": "true"} if settings["DERIVATIVE_FLAVOR"] == "kicksecure-cli" else {}),
        "MKSQUASHFS_OPTIONS": settings["MKSQUASHFS_OPTIONS"],
        "SHORT_VMNAME": settings["BRAND_NAME"],
        "SKIP_SCRIPTS": " prepare-release ",
        # Both bring packages that no pin of ours names: of the Tor project's archive, of Debian's unstable suite.
        "build_skip_run_functions": "download_tpo_packages download_packages_from_debian_sid",
        "dist_build_interactive": "false",
        "dist_build_sources_list_primary": SOURCES_FILE,
        "dist_build_type_short_pretty": settings["BRAND_NAME"],
        "dist_build_version": version,
        "project_clearnet": settings["BRAND_SITE"],
    }
    return Call(
        argv,
        environment,
        render_sources(settings.timestamp, settings.suite),
        render_cache(archive, settings.timestamp),
        None if tag.excludes is None else f"{version}/{tag.excludes}",
        f"{version}/{iso_name(settings, version)}",
        version,
        tag.systemd,
    )


def info(settings: BaseSettings, call: Call) -> dict[str, str]:
    """This recipe's own lines of ``BUILD_INFO``. mksquashfs' options are told with live-build's own."""
    return {
        "ARCHITECTURE": settings["DERIVATIVE_ARCHITECTURE"],
        "DERIVATIVE_MAKER_TAG": settings.tag,
        "DERIVATIVE_VERSION": call.version,
        "MKSQUASHFS_OPTIONS": f"-comp xz {settings['MKSQUASHFS_OPTIONS']}".strip(),
        "SNAPSHOT_TIMESTAMP": settings.timestamp,
        "SUITE": settings.suite,
    }


def iso_name(settings: BaseSettings, version: str) -> str:
    """What upstream calls the image (help-steps/variables: binary_image_iso_file)."""
    desktop = {"kicksecure-cli": "CLI", "kicksecure-lxqt": "LXQt"}[settings["DERIVATIVE_FLAVOR"]]
    architecture = {"amd64": "Intel_AMD64"}.get(settings["DERIVATIVE_ARCHITECTURE"], "arm64")
    return f"{settings['BRAND_NAME']}-{desktop}-{version}.{architecture}.iso"


def excludes() -> str:
    """The list of what mksquashfs leaves out."""
    return "".join(f"{path}\n" for path in EXCLUDES)
