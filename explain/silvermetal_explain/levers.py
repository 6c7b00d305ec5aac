"""Each lever, proven in the artefact: what the recipe set must show in the bytes.

Rules:
- A check says got and expected and where; a lever that was set and had no effect is an error, never a note.
- Nothing is taken from the log or from the recipe: only BUILD_INFO (what was meant) and the image (what is).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import ExplainError, Unreadable
from .image import dates
from .image.fat import Fat
from .image.layer import Layer
from .image.squashfs import Squashfs

EXAMPLES = 3


@dataclass(frozen=True)
class Check:
    """One lever and what came of it."""

    lever: str
    ok: bool
    got: str
    expected: str
    where: str = ""
    severity: str = "error"


def read_build_info(path: Path) -> dict[str, str]:
    """KEY=value lines."""
    try:
        lines = path.read_text(encoding="utf-8")[: 1 << 20].splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: got {error}, expected a BUILD_INFO of KEY=value lines") from None
    found = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if line.strip() and not line.startswith("#"):
            if not equals or not key.isidentifier():
                raise Unreadable(f"{path}: got {line[:80]!r}, expected KEY=value")
            found[key] = value
    if not found.get("EFFECTIVE_SOURCE_DATE_EPOCH", found.get("SOURCE_DATE_EPOCH", "")).isdigit():
        raise Unreadable(f"{path}: got no EFFECTIVE_SOURCE_DATE_EPOCH, expected the epoch in seconds")
    return found


def audit(layers: list[Layer], info: dict[str, str], lock: Path | None) -> Iterator[Check]:
    """Every check that the image's layers allow."""
    epoch = int(info.get("EFFECTIVE_SOURCE_DATE_EPOCH") or info["SOURCE_DATE_EPOCH"])
    yield from _iso_dates(layers[0], epoch)
    for layer in layers:
        if layer.format.startswith("iso9660"):
            yield from _record_dates(layer, epoch)
        elif isinstance(layer, Squashfs):
            yield from _squashfs(layer, epoch, info)
        elif isinstance(layer, Fat):
            yield from _fat_dates(layer, epoch)
        elif layer.format == "cpio":
            yield _times(f"file times in {layer.path}", layer, epoch)
    for layer in layers:
        if isinstance(layer, Squashfs) and "/etc" in layer.entries:
            yield from _root(layer, epoch, info, lock)


def _iso_dates(iso: Layer, epoch: int) -> Iterator[Check]:
    expected = dates.unix(epoch)
    wanted = {"creation date", "modification date"}
    found = {f.name: f.value for f in iso.fields if f.name.split(": ")[-1] in wanted and "descriptor" in f.name}
    wrong = [f"{name} {value}" for name, value in found.items() if value != expected]
    yield Check("ISO volume dates", bool(found) and not wrong, _some(wrong) or f"{len(found)} dates", expected, "ISO")


def _record_dates(layer: Layer, epoch: int) -> Iterator[Check]:
    late = []
    for entry in layer.entries.values():
        for f in entry.fields:
            if f.kind == "date" and f.value != "unset" and _moment(f.value) > epoch:
                late.append(f"{entry.path} {f.name} {f.value}")
    label = layer.path or "primary tree"
    yield Check("ISO record dates", not late, _some(late) or "none later", f"none after {dates.unix(epoch)}", label)


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text.removesuffix(" local time")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("inf")


def _times(lever: str, layer: Layer, epoch: int) -> Check:
    late = [
        f"{e.path} {dates.unix(e.mtime)}" for e in layer.entries.values() if e.mtime is not None and e.mtime > epoch
    ]
    return Check(lever, not late, _some(late) or "none later", f"none after {dates.unix(epoch)}", layer.path)


def _fat_dates(layer: Fat, epoch: int) -> Iterator[Check]:
    fields = [(e.path, f) for e in layer.entries.values() for f in e.fields] + [("/", f) for f in layer.fields]
    late = [
        f"{path} {f.name} {f.value}"
        for path, f in fields
        if f.kind == "date" and f.value != "unset" and _moment(f.value) > epoch
    ]
    yield Check("FAT file times", not late, _some(late) or "none later", f"none after {dates.unix(epoch)}", layer.path)


def _squashfs(layer: Squashfs, epoch: int, info: dict[str, str]) -> Iterator[Check]:
    got = dates.unix(layer.mkfs_time)
    yield Check("squashfs mkfs time", layer.mkfs_time == epoch, got, dates.unix(epoch), layer.path)
    yield _times("squashfs inode times", layer, epoch)
    if "MKSQUASHFS_OPTIONS" in info and "/etc" in layer.entries:  # the root file system, not one of its helpers
        yield from _options(layer, info["MKSQUASHFS_OPTIONS"])


def _options(layer: Squashfs, text: str) -> Iterator[Check]:
    words = shlex.split(text)
    following = dict(zip(words, [*words[1:], ""], strict=True))
    lever = "MKSQUASHFS_OPTIONS"
    compressor = following.get("-comp", "gzip")
    yield Check(f"{lever} -comp", layer.compressor == compressor, layer.compressor, compressor, layer.path)
    size = _size(following.get("-b", "128K"))
    yield Check(f"{lever} -b", layer.block_size == size, str(layer.block_size), str(size), layer.path)
    recorded = [int.from_bytes(layer.options[i : i + 4], "little") for i in range(0, len(layer.options) & ~3, 4)]
    if compressor == layer.compressor and compressor in ("zstd", "gzip"):
        usual = 15 if compressor == "zstd" else 9
        level = following.get("-Xcompression-level", str(usual))
        got = str(recorded[0] if recorded else usual)
        yield Check(f"{lever} -Xcompression-level", got == level, got, level, layer.path)
    if compressor == layer.compressor == "xz":
        asked = following.get("-Xdict-size", "100%")
        want = size * int(asked[:-1]) // 100 if asked.endswith("%") else _size(asked)
        have = recorded[0] if recorded else layer.block_size
        yield Check(f"{lever} -Xdict-size", have == want, str(have), str(want), layer.path)
    for option, bit, value in (
        ("-no-exports", 7, 0),
        ("-no-xattrs", 9, 1),
        ("-no-fragments", 4, 1),
        ("-no-duplicates", 6, 0),
    ):
        if option in words:
            state = layer.flags >> bit & 1
            yield Check(
                f"{lever} {option}",
                state == value,
                "had no effect" if state != value else "in effect",
                "in effect",
                layer.path,
            )


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KkMm]?)", text)
    if not match:
        raise Unreadable(f"BUILD_INFO: got the size {text!r} in MKSQUASHFS_OPTIONS, expected a number with K or M")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[match[2].lower()]


def _root(root: Layer, epoch: int, info: dict[str, str], lock: Path | None) -> Iterator[Check]:
    yield from _identities(root)
    yield from _sources(root)
    yield from _shadow(root, epoch)
    if lock is not None:
        yield from _packages(root, lock)
    for path in ("/etc/default/locale", "/etc/locale.conf"):
        text = _read(root, path)
        if text:
            values = re.findall(r"^\s*\w+=\"?([^\"\n]*)", text, re.MULTILINE)
            allowed = {"C", "C.UTF-8", "POSIX", "", info.get("LC_ALL", "")}
            odd = sorted(set(values) - allowed)
            yield Check(
                "locale", not odd, ", ".join(odd) or "neutral", f"one of {sorted(allowed)}", _at(root, path), "note"
            )


def _identities(root: Layer) -> Iterator[Check]:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        entry = root.entries.get(path)
        text = (_read(root, path) or "").strip() if entry and entry.type == "f" else ""
        yield Check("no machine-id", text in ("", "uninitialized"), text or "empty", "empty or absent", _at(root, path))
    tests: tuple[tuple[str, Callable[[str, int], bool]], ...] = (
        ("no host keys", lambda p, s: p.startswith("/etc/ssh/ssh_host_") or "ssl-cert-snakeoil" in p),
        ("no random seed", lambda p, s: p.startswith("/var/lib/") and p.endswith("random-seed") and s > 0),
        ("no NVMe host identity", lambda p, s: p in ("/etc/nvme/hostid", "/etc/nvme/hostnqn")),
        ("no logs", lambda p, s: p.startswith("/var/log/") and s > 0),
        ("no build logs", lambda p, s: bool(re.match(r"/var/lib/dkms/.*/log/", p))),
        (
            "no caches",
            lambda p, s: (
                p.startswith(("/var/cache/apt/", "/var/lib/apt/lists/", "/var/cache/ldconfig/aux-cache"))
                and s > 0
                and not p.endswith("/lock")
            ),
        ),
        (
            "no dpkg or debconf backups",
            lambda p, s: bool(re.match(r"/var/(lib/dpkg|cache/debconf)/.*-old$", p)) and s > 0,
        ),
    )
    for lever, hit in tests:
        found = [p for p, e in root.entries.items() if e.type == "f" and hit(p, e.size)]
        yield Check(lever, not found, _some(found) or "none", "none", root.path)


def _sources(root: Layer) -> Iterator[Check]:
    found = []
    for path, entry in root.entries.items():
        if entry.type == "f" and re.match(r"/etc/apt/(sources\.list$|sources\.list\.d/|apt\.conf)", path):
            text = _read(root, path) or ""
            for uri in re.findall(
                r"\b(?:file|copy|cdrom):\S+|https?://(?:localhost|127\.|10\.|192\.168\.|\[)\S*", text
            ):
                found.append(f"{path}: {uri}")
    yield Check(
        "apt sources are public ones",
        not found,
        _some(found) or "no local one",
        "no path, cache or address of the build",
        root.path,
    )


def _shadow(root: Layer, epoch: int) -> Iterator[Check]:
    text = _read(root, "/etc/shadow")
    if text is None:
        return
    day = str(epoch // 86400)
    odd = [
        line.split(":")[0]
        for line in text.splitlines()
        if line.count(":") >= 2 and line.split(":")[2] not in ("", "0", day)
    ]
    got = f"another day for {_some(odd)}" if odd else day
    yield Check("last change in /etc/shadow", not odd, got, f"day {day}", _at(root, "/etc/shadow"))


def _packages(root: Layer, lock: Path) -> Iterator[Check]:
    try:
        value = json.loads(lock.read_bytes())
        if "snapshot" in value:
            # The snapshot fixes every version, and no list of them is there to compare with.
            got, expected = f"the snapshot {value['snapshot']}", "a package lock or a snapshot"
            yield Check("package set is the lock", True, got, expected, root.path, "note")
            return
        rows: list[dict[str, Any]] = value["packages"]
        locked = {(r["name"], r["version"]) for r in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{lock}: got {error!r}, expected a package lock") from None
    text = _read(root, "/var/lib/dpkg/status", 64 << 20)
    if text is None:
        yield Check(
            "package set is the lock", False, "no /var/lib/dpkg/status", f"{len(locked)} packages", root.path, "note"
        )
        return
    installed = set()
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields and "installed" in fields.get("Status", ""):
            installed.add((fields["Package"], fields.get("Version", "")))
    strange = sorted(f"{n} {v}" for n, v in installed - locked)
    got = f"{len(installed)} installed" + (f", not in the lock: {_some(strange)}" if strange else ", all in the lock")
    yield Check(
        "package set is the lock",
        not strange,
        got,
        f"only packages of the lock ({len(locked)})",
        _at(root, "/var/lib/dpkg/status"),
    )


def _read(layer: Layer, path: str, limit: int = 4 << 20) -> str | None:
    entry = layer.entries.get(path)
    if entry is None or entry.type != "f" or entry.size > limit:
        return None
    try:
        return layer.open(entry).read(0, entry.size).decode("utf-8", "replace")
    except ExplainError:
        return None


def _at(layer: Layer, path: str) -> str:
    return f"{layer.path} → {path}"


def _some(items: list[str]) -> str:
    more = f" and {len(items) - EXAMPLES} more" if len(items) > EXAMPLES else ""
    return ", ".join(items[:EXAMPLES]) + more
