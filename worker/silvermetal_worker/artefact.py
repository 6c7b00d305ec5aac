"""Is this file a bootable ISO9660 image? A look at three sectors, before anything is signed.

Sources: ECMA-119 clauses 8.1 to 8.4 (volume descriptors at sector 16), El Torito Bootable CD-ROM Format 1.0.

Rules:

- Answers yes or no for any file, however short; raises nothing but OSError.
- This is what keeps a dry run's six bytes, which agree on every host, from ever counting (facts: derivative-maker).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_MAX_DESCRIPTORS = 64
_PRIMARY, _BOOT_RECORD, _TERMINATOR = 1, 0, 255
_EL_TORITO = b"EL TORITO SPECIFICATION"


@dataclass(frozen=True)
class Found:
    """What the file is."""

    size: int
    iso9660: bool
    bootable: bool


def look_at(path: Path) -> Found:
    """Look at the image in ``path``."""
    size = path.stat().st_size
    iso9660 = bootable = False
    with path.open("rb") as stream:
        for index in range(_MAX_DESCRIPTORS):
            stream.seek((_FIRST_DESCRIPTOR + index) * SECTOR)
            sector = stream.read(SECTOR)
            if len(sector) < SECTOR or sector[1:6] != b"CD001" or sector[0] == _TERMINATOR:
                break
            if sector[0] == _PRIMARY:
                iso9660 = True
            elif sector[0] == _BOOT_RECORD and sector[7:39].rstrip(b"\0") == _EL_TORITO:
                catalogue = int.from_bytes(sector[71:75], "little") * SECTOR
                if 0 < catalogue <= size - SECTOR:
                    here = stream.tell()
                    stream.seek(catalogue)
                    bootable = _valid_catalogue(stream.read(64))
                    stream.seek(here)
    return Found(size, iso9660, bootable and iso9660)


def _valid_catalogue(entry: bytes) -> bool:
    """Validation entry (header 1, key 55 AA, 16-bit sum zero), then an initial entry marked bootable (0x88)."""
    if len(entry) < 64 or entry[0] != 1 or entry[30:32] != b"\x55\xaa":
        return False
    total = sum(int.from_bytes(entry[i : i + 2], "little") for i in range(0, 32, 2))
    return total & 0xFFFF == 0 and entry[32] == 0x88
