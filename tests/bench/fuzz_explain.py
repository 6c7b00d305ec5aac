"""Coverage-guided fuzzing of the readers with atheris.

    python tests/bench/fuzz_explain.py [CORPUS] -max_total_time=1800 -rss_limit_mb=512 -max_len=4000000

The corpus begins with a small image made by the tools. Only the documented errors may come out; anything else is a crash.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "explain")]

with atheris.instrument_imports(include=["silvermetal_explain"]):
    from silvermetal_explain.errors import ExplainError
    from silvermetal_explain.image.cpio import Cpio
    from silvermetal_explain.image.fat import Fat
    from silvermetal_explain.image.opening import open_iso
    from silvermetal_explain.image.source import BytesSource
    from silvermetal_explain.image.squashfs import Squashfs
    from silvermetal_explain.limits import Limits
    from silvermetal_explain.manifest import make
    from silvermetal_explain.mapping import full_map

LIMITS = Limits(spool=16 << 20, metadata=4 << 20, entries=5000, decompressed=64 << 20)


def one(data: bytes) -> None:
    """One input, through every reader that its first byte chooses."""
    if not data:
        return
    source = BytesSource(data[1:])
    try:
        match data[0] % 4:
            case 0:
                iso = open_iso(source, LIMITS)
                full_map(iso)
                make(iso, "fuzz")
            case 1:
                for _ in Squashfs("s", source, LIMITS).hashes():
                    pass
            case 2:
                list(Fat("f", source, LIMITS).hashes())
            case _:
                list(Cpio("c", source, LIMITS).hashes())
    except ExplainError:
        return


def seeds(folder: Path) -> None:
    """A small image and its layers, each behind the byte that chooses its reader."""
    from tests.cases.world import build

    with tempfile.TemporaryDirectory() as work:
        image = build(Path(work) / "seed", 0, [])
        (folder / "iso").write_bytes(b"\0" + image.read_bytes())
        tree = Path(work) / "seed"
        (folder / "squashfs").write_bytes(b"\1" + (tree / "iso/live/filesystem.squashfs").read_bytes())
        (folder / "fat").write_bytes(b"\2" + (tree / "efi.img").read_bytes())
        (folder / "cpio").write_bytes(b"\3" + (tree / "initrd.cpio").read_bytes())


def main() -> None:
    """Seed the corpus, then fuzz."""
    words = sys.argv[1:]
    folder = Path(words[0]) if words and not words[0].startswith("-") else Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        seeds(folder)
    options = [w for w in words if w.startswith("-")]
    atheris.Setup([sys.argv[0], str(folder), *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
