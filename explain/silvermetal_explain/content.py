"""What kind of difference two versions of one file show.

Rules:
- At most `Limits.text` of each side is looked at; what lies beyond is said.
- Compressed files are compared by what they hold; where that is equal the difference is the compressor's.
- Formats with a date or identifier of their own (gzip, zip, ar, tar, pyc, ELF, PE) are decoded before bytes are
  guessed at.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable, Iterator

from .errors import ExplainError
from .image import dates
from .image.compression import sniff, stream
from .image.source import BytesSource
from .tokens import changed, shape

Finding = tuple[str, list[str]]
PRINTABLE = re.compile(rb"[\x20-\x7e\t]{4,}")
TIME_LOW, TIME_HIGH = 946_684_800, 2_208_988_800  # 2000 to 2040


def examine(a: bytes, b: bytes, limit: int, host_a: str = "", host_b: str = "") -> Finding:
    """Shape and evidence of the difference between `a` and `b`."""
    if a == b:
        return "beyond the part that was looked at", [f"the {len(a)} bytes that were looked at are equal"]
    for test in (_compressed, _zip, _ar, _tar, _pyc, _elf, _pe):
        found = test(a, b, limit, host_a, host_b)
        if found:
            return found
    text_a, text_b = _text(a), _text(b)
    if text_a is not None and text_b is not None:
        return shape(text_a, text_b, host_a, host_b) or "text", changed(text_a, text_b)
    return _binary(a, b, host_a, host_b)


def _text(data: bytes) -> str | None:
    if b"\0" in data[:65536]:
        return None
    # A piece of a file may begin or end within a character.
    begun = next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data[begun:])
    except UnicodeDecodeError:
        return None


def _compressed(a: bytes, b: bytes, limit: int, host_a: str, host_b: str) -> Finding | None:
    kind = sniff(a[:6])
    if not kind or kind == "lzma" or sniff(b[:6]) != kind:
        return None
    plain = []
    for data in (a, b):
        parts, total = [], 0
        try:
            for chunk in stream(kind, BytesSource(data), limit * 4):
                parts.append(chunk)
                total += len(chunk)
                if total >= limit:
                    break
        except ExplainError:
            if not parts:
                return None
        plain.append(b"".join(parts)[:limit])
    if plain[0] == plain[1]:
        if kind == "gzip" and a[4:8] != b[4:8]:
            stamps = [dates.unix(int.from_bytes(d[4:8], "little")) for d in (a, b)]
            return "gzip date", [f"gzip header date at byte 4: A {stamps[0]}, B {stamps[1]}; the content is equal"]
        if kind == "gzip" and _gzip_name(a) != _gzip_name(b):
            return "gzip name", [f"gzip header name: A {_gzip_name(a)!r}, B {_gzip_name(b)!r}; the content is equal"]
        return "compressed differently", [
            f"the {kind} streams hold equal content: level, threads or version of the compressor differ"
        ]
    found, evidence = examine(plain[0], plain[1], limit, host_a, host_b)
    return f"{kind}: {found}", [f"inside the {kind} stream:", *evidence]


def _gzip_name(data: bytes) -> str:
    return data[10:138].split(b"\0")[0].decode("latin-1") if len(data) > 10 and data[3] & 8 else ""


def _zip_rows(data: bytes) -> list[tuple[str, str, int]]:
    rows, at = [], data.find(b"PK\x01\x02")
    while at >= 0 and data[at : at + 4] == b"PK\x01\x02" and at + 46 <= len(data):
        time, date, crc = struct.unpack_from("<HHI", data, at + 12)
        n, extra, comment = struct.unpack_from("<HHH", data, at + 28)
        rows.append((data[at + 46 : at + 46 + n].decode("utf-8", "backslashreplace"), dates.dos(date, time), crc))
        at += 46 + n + extra + comment
    return rows


def _zip(a: bytes, b: bytes, *_: object) -> Finding | None:
    if a[:4] != b"PK\x03\x04" or b[:4] != b"PK\x03\x04":
        return None
    rows = _zip_rows(a), _zip_rows(b)
    return _members("zip", *rows)


def _members(kind: str, a: list[tuple[str, str, int]], b: list[tuple[str, str, int]]) -> Finding | None:
    """Archives of equal members differ in dates, in order, or in a member."""
    if not a or not b:
        return None
    if [(n, c) for n, _, c in a] == [(n, c) for n, _, c in b]:
        lines = [f"{n}: A {x}, B {y}" for (n, x, _), (_, y, _) in zip(a, b, strict=True) if x != y]
        return (f"{kind} dates", lines[:8]) if lines else None
    if sorted((n, c) for n, _, c in a) == sorted((n, c) for n, _, c in b):
        return f"{kind} order", [f"member 1 is {a[0][0]} in A, {b[0][0]} in B; the members are equal"]
    one, two = {n: c for n, _, c in a}, {n: c for n, _, c in b}
    return f"{kind} members", [f"{n}: differs" for n in sorted(one.keys() | two.keys()) if one.get(n) != two.get(n)][:8]


def _size(digits: bytes, base: int) -> int:
    """A member's size. :raises ValueError: also for one below zero, by which a walk would stand still or go back."""
    size = int(digits or b"0", base)
    if size < 0:
        raise ValueError(digits)
    return size


def _ar_rows(data: bytes) -> Iterator[tuple[str, str, int]]:
    at = 8
    while at + 60 <= len(data):
        head = data[at : at + 60]
        size = _size(head[48:58].strip(), 10)
        yield (
            head[:16].decode("latin-1").strip(),
            dates.unix(int(head[16:28].strip() or b"0")),
            hash(data[at + 60 : at + 60 + size]),
        )
        at += 60 + size + size % 2


def _ar(a: bytes, b: bytes, *_: object) -> Finding | None:
    if a[:8] != b"!<arch>\n" or b[:8] != b"!<arch>\n":
        return None
    return _rows("ar", _ar_rows, a, b)


def _tar_rows(data: bytes) -> Iterator[tuple[str, str, int]]:
    at = 0
    while at + 512 <= len(data) and data[at]:
        head = data[at : at + 512]
        size = _size(head[124:136].strip(b"\0 "), 8)
        when = dates.unix(int(head[136:148].strip(b"\0 ") or b"0", 8))
        yield (
            head[:100].rstrip(b"\0").decode("latin-1"),
            f"{when} owner {head[265:329].strip(bytes(1))!r}",
            hash(data[at + 512 : at + 512 + size]),
        )
        at += 512 + -(-size // 512) * 512


def _tar(a: bytes, b: bytes, *_: object) -> Finding | None:
    if a[257:262] != b"ustar" or b[257:262] != b"ustar":
        return None
    return _rows("tar", _tar_rows, a, b)


def _rows(kind: str, reader: Callable[[bytes], Iterator[tuple[str, str, int]]], a: bytes, b: bytes) -> Finding | None:
    try:
        return _members(kind, list(reader(a)), list(reader(b)))
    except ValueError:
        return None


def _pyc(a: bytes, b: bytes, *_: object) -> Finding | None:
    if a[2:4] != b"\r\n" or b[2:4] != b"\r\n" or len(a) < 16 or len(b) < 16:
        return None
    if a[:4] != b[:4]:
        return "pyc version", [f"magic number: A {a[:4].hex()}, B {b[:4].hex()}: two versions of Python"]
    if a[16:] == b[16:] and a[8:12] != b[8:12]:
        stamps = [dates.unix(int.from_bytes(d[8:12], "little")) for d in (a, b)]
        return "pyc date", [f"date of the source at byte 8: A {stamps[0]}, B {stamps[1]}; the code is equal"]
    return "pyc code", [f"marshalled code differs first at byte {_first(a, b)}"]


def _note_id(data: bytes) -> tuple[int, bytes]:
    at = data.find(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")
    return (at + 16, data[at + 16 : at + 36]) if at >= 0 else (-1, b"")


def _elf(a: bytes, b: bytes, limit: int, host_a: str, host_b: str) -> Finding | None:
    if a[:4] != b"\x7fELF" or b[:4] != b"\x7fELF":
        return None
    (at, one), (bt, two) = _note_id(a), _note_id(b)
    evidence = [f"build id: A {one.hex()}, B {two.hex()}"] if one != two else []
    if one and at == bt and a[:at] + a[at + 20 :] == b[:bt] + b[bt + 20 :]:
        return "elf build id", evidence
    if one:
        a, b = a[:at] + bytes(20) + a[at + 20 :], b[:bt] + bytes(20) + b[bt + 20 :]
    kind, more = _binary(a, b, host_a, host_b)
    return f"elf: {kind}", evidence + more


def _pe(a: bytes, b: bytes, *_: object) -> Finding | None:
    if a[:2] != b"MZ" or b[:2] != b"MZ" or len(a) < 64 or len(b) < 64:
        return None
    (at,) = struct.unpack_from("<I", a, 60)
    if a[60:64] != b[60:64] or a[at : at + 4] != b"PE\0\0" or a[at + 8 : at + 12] == b[at + 8 : at + 12]:
        return None
    stamps = [dates.unix(int.from_bytes(d[at + 8 : at + 12], "little")) for d in (a, b)]
    return "pe date", [f"date of the PE header at byte {at + 8}: A {stamps[0]}, B {stamps[1]}"]


def _first(a: bytes, b: bytes) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if a[: middle + 1] == b[: middle + 1] else (low, middle)
    return low


def _binary(a: bytes, b: bytes, host_a: str, host_b: str) -> Finding:
    first = _first(a, b)
    evidence = [f"first differing byte {first}: A {a[first : first + 16].hex(' ')}, B {b[first : first + 16].hex(' ')}"]
    strings = [[m.decode("latin-1") for m in PRINTABLE.findall(d)] for d in (a, b)]
    known = [set(those) for those in strings]
    strings = (
        [[s for s in those if s not in others] for those, others in zip(strings, known[::-1], strict=True)]
        if len(a) < 1 << 22
        else [[], []]
    )
    if any(host and any(host in s for s in those) for host, those in zip((host_a, host_b), strings, strict=True)):
        return "host name", evidence + changed("\n".join(strings[0]), "\n".join(strings[1]))
    found = shape("\n".join(strings[0]), "\n".join(strings[1])) if len(strings[0]) == len(strings[1]) > 0 else ""
    if found and found not in ("number", "permutation", "more lines"):
        return found, evidence + changed("\n".join(strings[0]), "\n".join(strings[1]))
    if len(a) != len(b):
        return "binary", [f"{len(a)} bytes in A, {len(b)} in B", *evidence]
    spots = [i for i in range(first, min(len(a), first + 4096)) if a[i] != b[i]]
    if spots and spots[-1] - spots[0] < 16 and a[spots[-1] + 1 :] == b[spots[-1] + 1 :]:
        for start in range(max(0, spots[-1] - 3), spots[0] + 1):
            values = [int.from_bytes(d[start : start + 4], order) for order in ("little", "big") for d in (a, b)]  # type: ignore[arg-type]
            for x, y in (values[:2], values[2:]):
                if TIME_LOW <= x <= TIME_HIGH and TIME_LOW <= y <= TIME_HIGH:
                    return "binary date", [f"at byte {start}: A {dates.unix(x)}, B {dates.unix(y)}"]
    if sorted(a) == sorted(b):
        return "binary permutation", evidence
    entropy = len(set(a)) / min(256, max(1, len(a)))
    return ("random bytes" if len(a) <= 4096 and entropy > 0.5 and len(spots) > len(a) * 0.9 else "binary"), evidence
