"""The one date of the image: upstream's, and the one that the image really has.

Sources: deb-changelog(5), the trailer line; ECMA-119 clause 8.4.26.1, the 17 bytes of a volume's date.

Rules:

- derivative-maker takes SOURCE_DATE_EPOCH from the newest entry of its own ``debian/changelog`` whatever the caller
  says: that entry is the pin, and a setting that says otherwise is refused rather than recorded.
- What took effect is read from the image, never from a log.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from silvermetal_proof.errors import MalformedError

SECTOR = 2048
_TRAILER = re.compile(rb"^ -- [^\n]{1,400}>  (?P<date>[^\n]{1,80})$", re.MULTILINE)
_DATE = re.compile(rb"\A[0-9]{16}\Z")
_MODIFIED = 830
"""Where in the primary volume descriptor the date of modification stands: what xorriso's --modification-date sets."""


def changelog_epoch(changelog: bytes, name: str = "derivative-maker's debian/changelog") -> int:
    """Seconds since 1970 of the newest entry. :raises MalformedError: when there is none."""
    match = _TRAILER.search(changelog)
    try:
        moment = parsedate_to_datetime(match["date"].decode("ascii")) if match else None
    except (ValueError, UnicodeDecodeError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise MalformedError(name, expected="an entry that ends with a maintainer and a date", got="none")
    return int(moment.timestamp())


def effective_epoch(image: bytes) -> int | None:
    """The date that the image's first 18 sectors name, in seconds since 1970; None when it is no ISO 9660 image."""
    volume = image[16 * SECTOR : 17 * SECTOR]
    date = volume[_MODIFIED : _MODIFIED + 16]
    if volume[:6] != b"\x01CD001" or not _DATE.match(date):
        return None
    zone = int.from_bytes(volume[_MODIFIED + 16 : _MODIFIED + 17], "big", signed=True)
    try:
        moment = datetime.strptime(date[:14].decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) - zone * 15 * 60


def check_epoch(asked: int | None, upstream: int, where: str) -> int:
    """The pin. ``asked`` is what a setting says. :raises MalformedError: when it is another date than upstream's."""
    if asked is not None and asked != upstream:
        raise MalformedError(
            f"{where}: SOURCE_DATE_EPOCH has no effect on silvermetal-base",
            expected=f"nothing, or {upstream}: derivative-maker takes the date of its own debian/changelog",
            got=asked,
        )
    return upstream
