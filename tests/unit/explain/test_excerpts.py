"""The pieces of differing files: from where they begin to differ, within a budget that is shared."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from silvermetal_explain import excerpts
from silvermetal_explain.cli import compared
from silvermetal_explain.errors import Unreadable
from silvermetal_explain.image.opening import open_iso
from silvermetal_explain.image.source import BLOCK, BytesSource, Digests, FileSource, first_difference
from silvermetal_explain.limits import Limits

from tests.cases.world import HOSTS, World, build

LIMITS = Limits(memory=4 << 30)
LATE = 700_000
PATH = "live/filesystem.squashfs → /opt/large.txt"


def late(world: World) -> None:
    """Text of 1.4 MB whose one differing line lies in its middle."""
    lines = [f"line {number:06} of a long report\n" for number in range(50_000)]
    lines[LATE // 29] = f"written on {('2026-05-07', '2026-05-08')[world.side]} at noon\n"
    world.put("/opt/large.txt", "".join(lines))


def small(world: World) -> None:
    """A small file beside it."""
    world.put("/opt/small.bin", bytes([0, 1, world.side]) * 2000)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two images with both."""
    folder = tmp_path_factory.mktemp("late")
    return build(folder / "a", 0, [late, small]), build(folder / "b", 1, [late, small])


def run(*words: object) -> int:
    """One command, in its own process: its memory limit is a process's."""
    argv = [sys.executable, "-m", "silvermetal_explain", *map(str, words)]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False).returncode


def test_a_difference_deep_within_a_large_file_is_found_across_hosts_in_a_small_piece(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    for path, name in zip(pair, "ab", strict=True):
        assert run("manifest", path, "-o", tmp_path / f"{name}.json.gz") == 0
    sides = [tmp_path / f"{n}.json.gz" for n in "ab"]
    assert run("diff", *sides, "--json", tmp_path / "want.json", "--quiet") == 1
    rows = {d["layer_path"]: d for d in json.loads((tmp_path / "want.json").read_text())["differences"]}
    assert rows[PATH]["differs_from"] == LATE // BLOCK * BLOCK
    for path, name in zip(pair, "ab", strict=True):
        words = ["--together", 150_000, "-o", tmp_path / f"{name}.x.gz"]
        assert run("excerpt", path, "--want", tmp_path / "want.json", *words) == 0
        sent = excerpts.load(tmp_path / f"{name}.x.gz")
        assert sum(len(piece.data) for piece in sent.values()) <= 150_000
        assert len(sent["live/filesystem.squashfs → /opt/small.bin"].data) == 6000, "a small file comes whole"
    found = compared(*sides, LIMITS, HOSTS, (tmp_path / "a.x.gz", tmp_path / "b.x.gz"))
    (d,) = [d for d in found.comparison.differences if d.layer_path == PATH]
    assert (d.shape, d.a) == ("date", "written on 2026-05-07 at noon")
    assert "looked at from byte" in d.evidence[0]


def test_the_same_is_found_on_the_images_beyond_the_part_that_is_looked_at_first(pair: tuple[Path, Path]) -> None:
    found = compared(*pair, Limits(memory=4 << 30, text=100_000))
    (d,) = [d for d in found.comparison.differences if d.layer_path == PATH]
    assert (d.shape, d.b) == ("date", "written on 2026-05-08 at noon")


def test_each_wanted_file_gets_a_fair_share_and_what_is_left_over_goes_on(pair: tuple[Path, Path]) -> None:
    iso = open_iso(FileSource(pair[0]), LIMITS)
    small_path = "live/filesystem.squashfs → /opt/small.bin"
    for together in (10, 3000, 20_000, 1 << 20):
        files = excerpts.pieces(excerpts.take(iso, {PATH: 0, small_path: 0}, 1 << 20, together)["files"])
        got = {path: len(piece.data) for path, piece in files.items()}
        assert got[small_path] == min(6000, together // 2)
        assert got[PATH] == min(1 << 20, together - got[small_path])


def test_what_is_no_file_of_excerpts_is_refused_by_name(tmp_path: Path) -> None:
    for number, text in enumerate(('{"silvermetal_excerpts": 1, "files": {}}', '{"silvermetal_excerpts": 2, "files": {"a": [0]}}', "[]",
                                   '{"silvermetal_excerpts": 2, "files": {"a": ["x", ""]}}')):  # fmt: skip
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        with pytest.raises(Unreadable, match=rf"{number}\.json.*expected"):
            excerpts.load(path)


@given(st.lists(st.binary(max_size=3 * BLOCK // 2), max_size=4))
def test_digests_do_not_depend_on_how_the_bytes_come(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    split, once = Digests(), Digests()
    for part in parts:
        split.update(part)
    once.update(whole)
    assert split.end() == once.end()
    digest, blocks = once.end()
    assert digest == hashlib.sha256(whole).hexdigest()
    assert len(blocks) == (8 * -(-len(whole) // BLOCK) if len(whole) > BLOCK else 0)


@given(st.binary(min_size=1, max_size=2000), st.integers(0, 1 << 20), st.data())
def test_the_first_differing_byte_is_found(tail: bytes, shared: int, data: st.DataObject) -> None:
    begin = bytes(shared)
    other = bytes([tail[0] ^ 1]) + data.draw(st.binary(max_size=2000))
    assert first_difference(BytesSource(begin + tail), BytesSource(begin + other)) == shared
    assert first_difference(BytesSource(begin), BytesSource(begin + tail)) == shared
