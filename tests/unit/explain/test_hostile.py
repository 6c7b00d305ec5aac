"""Damaged and hostile images end in the documented error, soon, in bounded memory."""

from __future__ import annotations

import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from silvermetal_explain.compare import Comparer
from silvermetal_explain.content import examine
from silvermetal_explain.errors import ExplainError, LimitExceeded
from silvermetal_explain.image.compression import stream
from silvermetal_explain.image.opening import open_iso
from silvermetal_explain.image.source import BytesSource, FileSource
from silvermetal_explain.image.squashfs import Squashfs
from silvermetal_explain.limits import Limits
from silvermetal_explain.manifest import make
from silvermetal_explain.mapping import full_map

LIMITS = Limits(spool=64 << 20, metadata=16 << 20, entries=50_000, decompressed=1 << 30)
ROUNDS = 160


def mutate(data: bytearray, random_: random.Random, spots: list[int]) -> None:
    """Damage where the structures are: flip, overwrite, cut, swap."""
    for _ in range(random_.randint(1, 6)):
        at = min(random_.choice(spots) + random_.randint(0, 300), len(data) - 9)
        kind = random_.randrange(4)
        if kind == 0:
            data[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            data[at : at + 4] = struct.pack(
                "<I", random_.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, len(data), len(data) // 2048])
            )
        elif kind == 2:
            other = random_.choice(spots)
            data[at : at + 8] = data[other : other + 8].ljust(8, b"\0")
        elif random_.random() < 0.2:
            del data[at:]
            return


def everything(path: Path, other: Path) -> None:
    """All that the commands do with an image."""
    iso = open_iso(FileSource(path), LIMITS)
    full_map(iso)
    make(iso, "x")
    Comparer(LIMITS).images(open_iso(FileSource(other), LIMITS), iso)


@pytest.mark.timeout(600)
def test_mutated_images_end_in_the_documented_error_or_not_at_all(image: Path, tmp_path: Path) -> None:
    whole = image.read_bytes()
    spots = [r.start for r in full_map(open_iso(FileSource(image), LIMITS)) if r.name != "padding (zeros)"]
    target = tmp_path / "mutated.iso"
    refused = 0
    for seed in range(ROUNDS):
        data = bytearray(whole)
        mutate(data, random.Random(seed), spots)
        target.write_bytes(data)
        begun = time.monotonic()
        try:
            everything(target, image)
        except ExplainError as error:
            assert str(error)
            refused += 1
        assert time.monotonic() - begun < 20, f"seed {seed} took too long"
    assert 0 < refused < ROUNDS, "some damage must be noticed, and some must be survived"
    # of this whole process, the test runner included
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 600 * 1024


def test_a_decompression_bomb_stops_at_the_limit() -> None:
    bomb = zlib.compressobj(9, wbits=31)
    data = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    with pytest.raises(LimitExceeded, match="at most"):
        for _ in stream("gzip", BytesSource(data), 50 << 20):
            pass


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["ar", "tar"])
def test_an_archive_whose_member_has_a_size_below_zero_does_not_hold_the_walk_up(kind: str) -> None:
    if kind == "ar":
        a = b"!<arch>\n" + f"{'m.o/':16}{'0':12}{'0':6}{'0':6}{'100644':8}{'-60':10}`\n".encode()
    else:
        a = bytearray(b"m".ljust(512, b"\0"))
        a[124:136], a[257:262] = b"-00000001000", b"ustar"
    b = bytes(a).replace(b"m", b"n", 1)
    shape, evidence = examine(bytes(a), b, 1 << 20)
    assert shape
    assert evidence


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["strings", "lines", "one line", "two kinds of line", "dates"])
def test_looking_into_a_megabyte_of_whatever_kind_takes_seconds(kind: str) -> None:
    random_ = random.Random(kind)
    a, b = (
        {
            "strings": lambda: b"".join(b"%07x\0" % random_.randrange(1 << 28) for _ in range(125_000)),
            "lines": lambda: b"".join(
                b"%x\n" % random_.randrange(1 << 40) for _ in range(95_000 + random_.randrange(9))
            ),
            "one line": lambda: bytes(random_.choices(b"aA0+/=-.:", k=1 << 20)),
            "two kinds of line": lambda: b"".join(random_.choices([b"x\n", b"y\n"], k=500_000)),
            "dates": lambda: b"".join(b"2026-01-%02d " % random_.randrange(1, 29) for _ in range(95_000)),
        }[kind]()
        for side in range(2)
    )
    begun = time.monotonic()
    examine(a, b, 1 << 20, "host-a", "host-b")
    assert time.monotonic() - begun < 40


def test_a_squashfs_that_claims_a_huge_table_is_refused_before_memory_is_spent() -> None:
    head = struct.pack(
        "<5I6H8Q", 0x73717368, 4_000_000_000, 0, 131072, 0, 1, 17, 0, 1, 4, 0, 0, 4096, 0, 0, 96, 96, 96, 96
    )
    with pytest.raises(LimitExceeded, match="inodes"):
        Squashfs("x", BytesSource(head.ljust(4096, b"\0")), Limits())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "CD001"),
        (b"six by", "CD001"),
        (bytes(40_000), "CD001"),
        (bytes(32768) + b"\x01CD001\x01" + bytes(3000), "directory|block"),
    ],
)
def test_what_is_no_image_gives_one_line_and_code_3(data: bytes, says: str, tmp_path: Path) -> None:
    import re

    bad = tmp_path / "bad.iso"
    bad.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "silvermetal_explain", "map", str(bad)], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(says, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_time_limit_ends_a_run_with_code_4(pair: tuple[Path, Path], tmp_path: Path) -> None:
    big = tmp_path / "big.iso"
    with big.open("wb") as file:  # sparse: the map has to look at 200 GB of zeros
        file.write(pair[0].read_bytes())
        file.truncate(200 << 30)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "silvermetal_explain", "map", "--seconds", "2", str(big)], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "time" in done.stderr) == (4, True), done.stderr
    assert time.monotonic() - begun < 20
