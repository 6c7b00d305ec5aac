"""Coverage-guided fuzzing of the readers with atheris.

    python tests/bench/fuzz_explain.py [CORPUS] -max_total_time=1800 -rss_limit_mb=512 -max_len=4000000

The corpus begins with a small image made by the tools, with its layers by themselves (the squashfs also with nothing compressed, so that
a mutated byte reaches the tables), and with the kinds of file that are looked into. The first byte of an input chooses the reader.
Only the documented errors may come out; anything else is a crash.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "explain")]

with atheris.instrument_imports(include=["silvermetal_explain"]):
    from silvermetal_explain.compare import Comparer
    from silvermetal_explain.content import examine
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


REFERENCE: list[Squashfs] = []


def one(data: bytes) -> None:
    """One input, through every reader that its first byte chooses."""
    if not data:
        return
    source = BytesSource(data[1:])
    try:
        match data[0] % 6:
            case 0:
                iso = open_iso(source, LIMITS)
                full_map(iso)
                make(iso, "fuzz")
            case 1:
                for _ in Squashfs("s", source, LIMITS).hashes():
                    pass
            case 2:
                list(Fat("f", source, LIMITS).hashes())
            case 3:
                list(Cpio("c", source, LIMITS).hashes())
            case 4:
                Comparer(LIMITS).layer(REFERENCE[0], Squashfs("s", source, LIMITS))
            case _:
                half = len(data) // 2
                examine(data[1:half], data[half:], 1 << 20, "host-a", "host-b")
    except ExplainError:
        return


def seeds(folder: Path) -> None:
    """A small image, its layers and some files, each behind the byte that chooses its reader."""
    from tests.cases import catalogue
    from tests.cases.world import World, build

    with tempfile.TemporaryDirectory() as work:
        tree = Path(work) / "seed"
        image = build(tree, 0, [])
        raw = tree / "raw.squashfs"
        argv = ["mksquashfs", str(tree / "root"), str(raw), "-noI", "-noD", "-noF", "-noX", "-quiet", "-no-progress"]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        (folder / "iso").write_bytes(b"\0" + image.read_bytes())
        (folder / "squashfs").write_bytes(b"\1" + (tree / "iso/live/filesystem.squashfs").read_bytes())
        (folder / "fat").write_bytes(b"\2" + (tree / "efi.img").read_bytes())
        (folder / "cpio").write_bytes(b"\3" + (tree / "initrd.cpio").read_bytes())
        for first in (1, 4):
            (folder / f"raw-squashfs{first}").write_bytes(bytes([first]) + raw.read_bytes())
        for name, case in catalogue.FURTHER.items():
            pair = []
            for side in range(2):
                world = World(Path(work) / f"{name}{side}", side)
                world.folder.mkdir()
                try:
                    case(world)
                except FileNotFoundError:
                    continue  # a case about something else than a file's content
                pair += [p.read_bytes() for p in sorted(world.folder.rglob("*")) if p.is_file()][:1]
            if len(pair) == 2:
                (folder / name).write_bytes(
                    b"\5" + pair[0].ljust(len(pair[1]), b"\0") + pair[1].ljust(len(pair[0]), b"\0")
                )
    REFERENCE.append(Squashfs("s", BytesSource((folder / "raw-squashfs4").read_bytes()[1:]), LIMITS))


def main() -> None:
    """Add the seeds to the corpus, then fuzz."""
    words = sys.argv[1:]
    folder = Path(words[0]) if words and not words[0].startswith("-") else Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    seeds(folder)
    options = [w for w in words if w.startswith("-")]
    atheris.Setup([sys.argv[0], str(folder), *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
