"""Replace a file in a finished ISO so that two hosts get the same bytes, by xorriso and never by patching.

Rules:
- `-volume_date all_file_dates` and `uuid` are set from the epoch, the boot data is kept: measured to leave no byte to
  the clock.
- Every SORRY of xorriso is a failure. The result is read back: all other files, owners, modes, links, extended
  attributes (capabilities are one), ACLs and the boot catalogue must be as before. Until then the input stays
  untouched; the output appears whole, by rename.
- A file system that replaces another may add and drop files, but owner, mode and attributes of those that both hold
  must be the same: packing anew with `-all-root` or `-no-xattrs` loses them, and no digest of the new image tells.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from .errors import ExplainError, Unreadable
from .image.iso9660 import Iso
from .image.layer import Entry, Layer
from .image.opening import inside, open_iso
from .image.source import FileSource, Source, sha256
from .limits import Limits

TIMEOUT = 1800


class NormaliseFailed(ExplainError):
    """xorriso refused, or the result is not what it should be."""

    exit_code = 3


def normalise(iso: Path, output: Path, epoch: int, replacements: dict[str, Path], limits: Limits) -> None:
    """Write `output`: `iso` with each path replaced and every date from `epoch`."""
    before = open_iso(FileSource(iso), limits)
    for path, source in replacements.items():
        if path not in before.entries or before.entries[path].type != "f":
            raise Unreadable(f"{iso}: got no file {path}, expected one to replace")
        if not source.is_file():
            raise Unreadable(f"{source}: got no file, expected the replacement of {path}")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".normalise-") as folder:
        work = Path(folder) / "work.iso"
        _xorriso(iso, work, epoch, replacements, Path(folder), before.entries)
        _verify(before, open_iso(FileSource(work), limits), replacements)
        with work.open("rb") as file:
            os.fsync(file.fileno())
        work.replace(output)


def _xorriso(
    iso: Path, work: Path, epoch: int, replacements: dict[str, Path], folder: Path, entries: dict[str, Entry]
) -> None:
    stamp = datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%d%H%M%S00")
    argv = [
        "xorriso",
        "-return_with",
        "SORRY",
        "32",
        *_attributes_of(entries),
        "-indev",
        str(iso),
        "-outdev",
        str(work),
        "-overwrite",
        "on",
    ]
    for number, (path, source) in enumerate(sorted(replacements.items())):
        copy = folder / f"new{number}"
        shutil.copyfile(source, copy)
        os.utime(copy, (epoch, epoch))
        # -update takes owner and mode of the new file: give it back those of the old one
        old = entries[path]
        argv += ["-update", str(copy), path, "-chmod", f"{old.mode:04o}", path, "--"]
        argv += ["-chown", str(old.uid), path, "--", "-chgrp", str(old.gid), path, "--"]
    argv += [
        "-boot_image",
        "any",
        "replay",
        "-volume_date",
        "uuid",
        stamp,
        "-volume_date",
        "all_file_dates",
        f"={epoch}",
    ]
    argv += ["-padding", "0", "-commit", "-end"]
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, env=environment
        )
    except FileNotFoundError:
        raise NormaliseFailed("normalise: got no xorriso, expected it to be installed (package xorriso)") from None
    except subprocess.TimeoutExpired:
        raise NormaliseFailed(f"normalise: got no end of xorriso, expected one within {TIMEOUT} s") from None
    said = done.stderr.decode(errors="replace")
    if done.returncode or "SORRY" in said or "FAILURE" in said:
        line = next((x for x in said.splitlines() if "SORRY" in x or "FAILURE" in x), said[-300:].strip())
        raise NormaliseFailed(
            f"normalise: got exit code {done.returncode} of xorriso ({line.strip()}), expected 0 and no SORRY"
        )


def _attributes_of(entries: dict[str, Entry]) -> list[str]:
    """xorriso loses what it is not told to load; told so for an image without any, it would add some of its own."""
    return ["-xattr", "any", "-acl", "on"] if any(map(_attributes, entries.values())) else []


def _attributes(entry: Entry) -> list[str]:
    """Extended attributes and ACLs as the ISO's tree holds them (AAIP, in entries named AL)."""
    return [f.value for f in entry.fields if f.name == "system use 'AL'"]


def _same_within(path: str, old: Layer | None, new: Layer | None) -> None:
    """Owners, modes and attributes of what both hold."""
    if old is None or new is None:
        return
    for inner, x in old.entries.items():
        y = new.entries.get(inner)
        if y is None or x.type != y.type:
            continue
        for what, a, b in (
            ("owner", f"{x.uid}:{x.gid}", f"{y.uid}:{y.gid}"),
            ("mode", f"{x.mode:04o}", f"{y.mode:04o}"),
            ("extended attributes", x.xattrs or "none", y.xattrs or "none"),
        ):
            if a != b:
                raise NormaliseFailed(
                    f"normalise: got {what} {b} of {inner} in the new {path}, expected {a} as before"
                    " (was it packed with -all-root or -no-xattrs?)"
                )


def _verify(before: Iso, after: Iso, replacements: dict[str, Path]) -> None:
    one, two = set(before.entries) - {"/boot.catalog"}, set(after.entries) - {"/boot.catalog"}
    if one != two:
        raise NormaliseFailed(f"normalise: got {sorted(one ^ two)[:5]} on one side only, expected the same files")
    catalogue = {f.value for f in before.fields if f.name == "boot record: position of the boot catalogue"}
    for path in sorted(one):
        x, y = before.entries[path], after.entries[path]
        if (x.type, x.mode, x.uid, x.gid, x.link, x.rdev) != (y.type, y.mode, y.uid, y.gid, y.link, y.rdev):
            raise NormaliseFailed(f"normalise: got another owner, mode, type or link of {path}, expected it kept")
        if _attributes(x) != _attributes(y):
            raise NormaliseFailed(f"normalise: got other extended attributes or ACLs of {path}, expected them kept")
        if path in replacements:
            _same_within(path, inside(before, x), inside(after, y))
        if x.type != "f" or {f.value for f in x.fields if f.name == "position"} & catalogue:
            continue
        source = replacements.get(path)
        old, new = FileSource(source) if source else before.open(x), after.open(y)
        same = _same_boot_image(old, new) if _position(x) in _boot_positions(before) else sha256(old) == sha256(new)
        if not same:
            raise NormaliseFailed(
                f"normalise: got another content of {path}, expected {'the new one' if source else 'it kept'}"
            )
    boot: Callable[[Iso], list[tuple[str, str]]] = lambda image: [  # noqa: E731 (used twice, here only)
        (f.name, f.value) for f in image.fields if f.name.startswith("boot catalogue") and f.role == "cause"
    ]
    if boot(before) != boot(after):
        raise NormaliseFailed("normalise: got another boot catalogue, expected the boot data kept")


def _position(entry: Entry) -> str:
    return next((f.value for f in entry.fields if f.name == "position"), "")


def _boot_positions(iso: Iso) -> set[str]:
    return {f.value for f in iso.fields if f.name.startswith("boot catalogue: image") and f.name.endswith(" position")}


def _same_boot_image(old: Source, new: Source) -> bool:
    """Boot images hold their own position: the boot info table at 8..64 and GRUB's at 2548..2556 are written anew."""

    def masked(source: Source) -> bytes:
        data = bytearray(source.read(0, min(source.size, 1 << 22)))
        for start, end in ((8, 64), (2548, 2556)):
            data[start:end] = bytes(len(data[start:end]))
        return bytes(data)

    return old.size == new.size and masked(old) == masked(new)
