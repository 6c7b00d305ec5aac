"""The dates of the formats, decoded to RFC 3339 where they are dates and told as they are where not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone


def unix(seconds: int) -> str:
    """Seconds since 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def short(data: bytes) -> str:
    """Seven bytes of a directory record or Rock Ridge entry: year-1900 … zone in quarter hours."""
    if data == bytes(7):
        return "unset"
    year, month, day, hour, minute, second, zone = data
    return _text((1900 + year, month, day, hour, minute, second), zone, data)


def long(data: bytes) -> str:
    """Seventeen bytes of a volume descriptor: sixteen digits and a zone."""
    digits = data[:16]
    if not digits.strip(b"0\0 "):
        return "unset"
    if not digits.isdigit():
        return repr(digits)
    parts = [int(digits[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16))]
    text = _text(tuple(parts[:6]), data[16], data)
    return text if not parts[6] else f"{text} and {parts[6]} hundredths"


def _text(parts: tuple[int, ...], zone: int, data: bytes) -> str:
    quarter = zone - 256 if zone > 127 else zone
    try:
        moment = datetime(*parts, tzinfo=timezone(timedelta(minutes=15 * quarter)))  # type: ignore[arg-type, misc]
    except (ValueError, OverflowError):
        return f"not a date ({data.hex()})"
    return moment.isoformat().replace("+00:00", "Z")


def dos(date: int, time: int, hundredths: int = 0) -> str:
    """FAT's local time, which has no zone."""
    if not date and not time:
        return "unset"
    try:
        moment = datetime(1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
    except ValueError:
        return f"not a date ({date:04x} {time:04x})"
    moment += timedelta(milliseconds=10 * hundredths)
    return moment.isoformat() + " local time"
