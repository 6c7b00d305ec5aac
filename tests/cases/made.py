"""Files of the kinds that carry dates and identifiers of their own, made byte by byte."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile


def zip_(when: int, order: tuple[str, ...]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in order:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, when)), name * 50)
    return out.getvalue()


def tar_(when: int, order: tuple[str, ...] = ("m", "n")) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in order:
            info = tarfile.TarInfo(name)
            info.mtime, info.size = when, 50
            archive.addfile(info, io.BytesIO(name.encode() * 50))
    return out.getvalue()


def ar_(when: int) -> bytes:
    return b"!<arch>\n" + f"{'m.o/':16}{when:<12}{'0':6}{'0':6}{'100644':8}{'10':10}`\n".encode() + b"0123456789"


def elf_(build_id: bytes, code: bytes = b"\x90" * 400) -> bytes:
    return b"\x7fELF" + bytes(60) + b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0" + build_id + code


def pe_(when: int) -> bytes:
    head = b"MZ" + bytes(58) + struct.pack("<I", 64)
    return head + b"PE\0\0" + struct.pack("<HHI", 0x8664, 3, when) + bytes(200)


def gz_(data: bytes, when: int, compresslevel: int = 9) -> bytes:
    return gzip.compress(data, compresslevel, mtime=when)
