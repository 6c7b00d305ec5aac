"""Every damage that can come over a folder that `silvermetal verify` checks, and what must be said of it.

Rules:

- One file at a time; it is put back, so that no damage hides another.
- What must be said: a documented code that fits the file, the file's name, and what was expected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from silvermetal_proof.cli import main
from silvermetal_proof.cli.ends import End
from silvermetal_proof.release import SUMS

_KINDS: tuple[tuple[str, set[End]], ...] = (
    ("verdict.dsse.json", {End.SIGNATURE, End.UNREADABLE}),
    ("statements/", {End.STATEMENTS}),
    ("keys/", {End.SIGNATURE}),
    ("ledger/", {End.LEDGER}),
    ("pins.json", {End.STATEMENTS}),
    ("packages.lock", {End.STATEMENTS}),
    ("BUILD_INFO", {End.STATEMENTS}),
    ("audit.json", {End.STATEMENTS}),
    ("build.log", {End.STATEMENTS}),
)
LARGE = 1 << 20


def ends_of(name: str) -> set[End]:
    """The codes that a changed file may end with, by its name below the folder; logs are only in the list of sums."""
    if name.lower().endswith(".iso"):
        return {End.ISO}
    return next((ends for start, ends in _KINDS if name.startswith(start)), {End.SUMS})


@dataclass(frozen=True)
class Checked:
    """A folder and the keys that it is checked by."""

    folder: Path
    keys: Path
    master_key: str
    origin: str

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())

    def verify(self) -> tuple[End, dict[str, Any]]:
        argv = ["verify", str(self.folder), "--keys", str(self.keys), "--master-key", self.master_key, "--json"]
        done = CliRunner().invoke(main, [*argv, "--origin", self.origin])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return End(done.exit_code), json.loads(done.stdout)

    def holds(self) -> dict[str, Any]:
        end, said = self.verify()
        assert end is End.HOLDS, said
        return said

    def told(self, name: str, what: str, ends: set[End] | None = None, word: str | None = None) -> None:
        """The damage is told by code and name (or by ``word``)."""
        end, said = self.verify()
        assert end not in (End.HOLDS, End.USAGE), f"{name}: {what}: let through"
        assert ends is None or end in ends, (name, what, said)
        words = f"{said['file']} {said['why']}"
        assert f"{self.folder}/" in said["file"], said
        assert (word or Path(name).name) in words, (name, what, said)
        assert "expected" in said["why"] or "does not hold" in said["why"], said

    def flip(self, name: str, bit: int, ends: set[End] | None = None, word: str | None = None) -> None:
        """One bit, counted from the file's begin."""
        self._turn(name, bit)
        try:
            self.told(name, f"bit {bit} flipped", ends or ends_of(name), word)
        finally:
            self._turn(name, bit)

    def _turn(self, name: str, bit: int) -> None:
        with (self.folder / name).open("r+b") as stream:
            stream.seek(bit // 8)
            byte = stream.read(1)[0]
            stream.seek(bit // 8)
            stream.write(bytes([byte ^ (1 << bit % 8)]))

    def flips(self, name: str, more: int = 0) -> None:
        """First bit, last bit, the middle, and ``more`` places between."""
        bits = (self.folder / name).stat().st_size * 8
        if bits:
            places = {0, bits - 1, bits // 2, *(bits * (2 * n + 1) // (2 * more) for n in range(more))}
            for bit in sorted(places):
                self.flip(name, bit)

    def lost_torn_and_unreadable(self, name: str) -> None:
        """The file is missing, cut, longer, a folder, a link to nowhere."""
        path = self.folder / name
        with self._put_back(path):
            path.unlink()
            self.told(name, "missing")
            path.symlink_to(self.folder / "nowhere")
            self.told(name, "a link to nowhere")
            path.unlink()
            path.mkdir()
            self.told(name, "a folder in its place")
        if path.stat().st_size > LARGE:
            return
        for what, keep, more in (("cut", -1, b""), ("emptied", 0, b""), ("longer", None, b"\0")):
            data = path.read_bytes()
            changed = data[:keep] + more
            if changed != data:
                with self._put_back(path):
                    path.write_bytes(changed)
                    self.told(name, what)

    @contextmanager
    def _put_back(self, path: Path) -> Iterator[None]:
        away = self.folder.parent / "away"
        away.unlink(missing_ok=True)
        away.hardlink_to(path)
        data = path.read_bytes() if path.stat().st_size <= LARGE else None
        try:
            yield
        finally:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            path.unlink(missing_ok=True)
            if data is None:
                away.rename(path)
            else:
                away.unlink()
                path.write_bytes(data)

    def strangers(self) -> None:
        """A file that nobody knows, in each folder."""
        folders = {self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())}
        for folder in sorted(folders):
            path = folder / "stranger.txt"
            path.write_text("nobody knows me")
            try:
                self.told(str(path.relative_to(self.folder)), "a stranger", {End.SUMS})
            finally:
                path.unlink()

    def without_its_list(self) -> None:
        """``SHA256SUMS`` taken away: what it alone names is then known to nobody."""
        path = self.folder / SUMS
        with self._put_back(path):
            path.unlink()
            end, said = self.verify()
            assert end in (End.HOLDS, End.SUMS)
            assert end is End.HOLDS or SUMS in said["why"]
