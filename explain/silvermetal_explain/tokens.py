"""What the pieces of two differing texts are: dates, identifiers, host facts, the same lines in another order.

Rules:
- A shape is only told when replacing all pieces of that shape makes the two texts equal, so it explains all of it.
- Host facts are the words that the caller knows to belong to A or B; they count before anything looser does.
"""

from __future__ import annotations

import difflib
import re

MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
ZONE = r"(?:\s?(?:Z|UTC|GMT|CET|CEST|BST|[A-Z]{3,4}|[+-]\d\d:?\d\d))?"
PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("uuid", re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")),
    (
        "build-path",
        re.compile(
            r"(?<![\w.])/(?:tmp|build|home|root|srv|mnt|work|workspace|var/(?:tmp|lib/(?:jenkins|buildbot)))(?:/[\w.+@%~-]+)+"
        ),
    ),
    (
        "date",
        re.compile(
            rf"(?:\b(?:{DAYS})\w*,?\s+)?\b(?:{MONTHS})\w*\s+\d{{1,2}}\s+(?:\d\d:\d\d(?::\d\d)?(?:\s?[AP]M)?{ZONE}\s+)?\d{{4}}(?:[ ,]+\d\d:\d\d(?::\d\d)?{ZONE})?"  # noqa: E501
        ),
    ),
    (
        "date",
        re.compile(
            rf"(?:\b(?:{DAYS})\w*,?\s+)?\b\d{{1,2}}[ -](?:{MONTHS})\w*[ -]\d{{4}}(?:,?\s+\d\d:\d\d(?::\d\d)?(?:\s?[AP]M)?{ZONE})?"  # noqa: E501
        ),
    ),
    ("date", re.compile(rf"\b(?:19|20)\d\d[-/.]\d\d[-/.]\d\d(?:[T _]\d\d[:.-]\d\d(?:[:.-]\d\d(?:[.,]\d+)?)?{ZONE})?")),
    ("date", re.compile(r"\b20\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?:T?\d{4,6}Z?)?\b")),
    (
        "elapsed time",
        re.compile(r"\b\d{1,2}:\d\d:\d\d(?:\.\d+)?\b|\b\d+(?:[.,]\d+)?\s?(?:ms|s|sec|secs|seconds|min|minutes)\b"),
    ),
    ("epoch", re.compile(r"\b1[0-9]{9}(?:\.\d+)?\b")),
    ("kernel version", re.compile(r"\b\d+\.\d+\.\d+-\d+(?:\+\w+)?-[a-z0-9-]+\b")),
    (
        "random hex",
        re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{16,128}\b|\b[0-9A-F]{32,128}\b|\b[0-9a-f]{32}\b"),
    ),
    ("random token", re.compile(r"(?<![\w+/])(?=[\w+/]*[A-Z])(?=[\w+/]*[a-z])(?=[\w+/]*\d)[\w+/]{22,}={0,2}")),
    ("address", re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")),
    ("locale", re.compile(r"\b[a-z]{2}_[A-Z]{2}(?:\.[\w-]+)?\b|\bC(?:\.UTF-8)?\b|\bPOSIX\b")),
    ("number", re.compile(r"\b\d+(?:\.\d+)*\b")),
)
LINES = 4000
WIDTH = 300


def shape(a: str, b: str, host_a: str = "", host_b: str = "") -> str:
    """The shapes that explain all of the difference between two texts, joined by `+`; empty where none do."""
    lines_a, lines_b = a.splitlines(), b.splitlines()
    if lines_a != lines_b and len(lines_a) == len(lines_b) and sorted(lines_a) == sorted(lines_b):
        return "permutation"
    if a.split() != b.split() and sorted(re.split(r"[\s,;]+", a)) == sorted(re.split(r"[\s,;]+", b)):
        return "permutation"
    found: list[str] = []
    if len(lines_a) != len(lines_b):
        return _growth(lines_a, lines_b, host_a, host_b)
    for x, y in zip(lines_a, lines_b, strict=True):
        if x == y:
            continue
        kinds = _of_line(x, y, host_a, host_b)
        if not kinds:
            masked = _masked_permutation(lines_a, lines_b)
            return masked
        found.extend(k for k in kinds if k not in found)
    return "+".join(found)


def _of_line(x: str, y: str, host_a: str, host_b: str) -> list[str]:
    kinds = []
    if host_a and host_b and (host_a in x or host_b in y):
        x, y = x.replace(host_a, "<host>"), y.replace(host_b, "<host>")
        kinds.append("host name")
        if x == y:
            return kinds
    for name, pattern in PATTERNS:
        if set(pattern.findall(x)) == set(pattern.findall(y)):
            continue  # nothing of this shape changed: masking it explains nothing
        nx, ny = pattern.sub(f"<{name}>", x), pattern.sub(f"<{name}>", y)
        if nx == x or ny == y:
            continue
        x, y = nx, ny
        if name not in kinds:
            kinds.append(name)
        if x == y:
            return kinds
    return []


def _masked_permutation(a: list[str], b: list[str]) -> str:
    """Lines that are the same but for dates, in another order: a parallel build's log."""
    kinds: list[str] = []
    for name, pattern in PATTERNS[:8]:
        na, nb = [pattern.sub(f"<{name}>", x) for x in a], [pattern.sub(f"<{name}>", x) for x in b]
        if na != a and nb != b and name not in kinds:
            kinds.append(name)
        a, b = na, nb
    return "+".join(["permutation", *kinds]) if sorted(a) == sorted(b) else ""


def _growth(a: list[str], b: list[str], host_a: str, host_b: str) -> str:
    """One side has lines more: whose are they?"""
    in_a, in_b = set(a), set(b)
    only_a, only_b = [x for x in a if x not in in_b], [x for x in b if x not in in_a]
    if (host_a and any(host_a in x for x in only_a)) or (host_b and any(host_b in x for x in only_b)):
        return "host name"
    return "more lines"


def changed(a: str, b: str, most: int = 12) -> list[str]:
    """The differing lines, as diff shows them, cut to a screen."""
    x, y = a.splitlines(), b.splitlines()
    # Equal lines before the first difference tell nothing, and there may be more of them than are looked at.
    first = next((i for i, (p, q) in enumerate(zip(x, y, strict=False)) if p != q), min(len(x), len(y)))
    x, y = x[first : first + LINES], y[first : first + LINES]
    lines: list[str] = []
    for tag, a_from, a_to, b_from, b_to in difflib.SequenceMatcher(None, x, y).get_opcodes():
        if tag != "equal":
            minus, plus = _cut(x[a_from:a_to], y[b_from:b_to])
            lines += [*(f"-{line}" for line in minus), *(f"+{line}" for line in plus)]
        if len(lines) > most:
            return [*lines[:most], "…"]
    return lines


def _cut(a: list[str], b: list[str]) -> tuple[list[str], list[str]]:
    """Lines that face each other, cut to `WIDTH` around the first place where they differ."""
    for i in range(min(len(a), len(b))):
        same = next((k for k, (p, q) in enumerate(zip(a[i], b[i], strict=False)) if p != q), min(len(a[i]), len(b[i])))
        if same >= WIDTH // 2 and max(len(a[i]), len(b[i])) > WIDTH:
            a[i], b[i] = (f"…{line[same - WIDTH // 4 :]}" for line in (a[i], b[i]))
    return [line[:WIDTH] for line in a], [line[:WIDTH] for line in b]
