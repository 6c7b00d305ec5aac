"""A release in a folder of static files: whole or not there, and never changed."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.gitea.converge import Asset
from silvermetal_master.gitea.porter import Porter
from silvermetal_master.shelf import ShelfError, place_of, shelve

with warnings.catch_warnings():
    from twisted.internet import reactor
    from twisted.trial import unittest

FILES = {"live.iso": b"\0" * 3_000_000 + b"end", "SHA256SUMS": b"sums\n"}


class Shelf(unittest.TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Any:
        self.made, self.folder = tmp_path / "made", tmp_path / "a" / "shelf"
        self.made.mkdir()
        self.assets = {}
        for name, data in FILES.items():
            (self.made / name).write_bytes(data)
            self.assets[name] = Asset(self.made / name, f"sha256:{hashlib.sha256(data).hexdigest()}")

    async def _shelve(self, ref: str = "refs/tags/v1") -> Path:
        porter = Porter(reactor)
        try:
            return await shelve(porter, self.folder, ref, self.assets)
        finally:
            porter.close()

    def _held(self, tag: str = "v1") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / tag).iterdir()}

    async def test_it_is_made_whole_and_asked_for_again_left_as_it_is(self) -> None:
        assert await self._shelve() == self.folder / "v1"
        before = (self.folder / "v1" / "live.iso").stat().st_ino
        await self._shelve()
        assert self._held() == FILES
        assert (self.folder / "v1" / "live.iso").stat().st_ino == before

    async def test_what_an_interrupted_try_left_is_begun_anew(self) -> None:
        part = self.folder / ".v1.part"
        part.mkdir(parents=True)
        (part / "live.iso").write_bytes(b"half")
        (part / "something").write_bytes(b"else")
        await self._shelve()
        assert self._held() == FILES
        assert not part.exists()

    async def test_a_file_that_is_not_what_was_signed_keeps_the_release_from_appearing(self) -> None:
        (self.made / "live.iso").write_bytes(b"swapped")
        with pytest.raises(ShelfError, match=r"live\.iso: expected sha256:"):
            await self._shelve()
        assert not (self.folder / "v1").exists()

    async def test_a_release_that_is_there_with_other_bytes_is_an_error_and_is_left_alone(self) -> None:
        await self._shelve()
        (self.folder / "v1" / "SHA256SUMS").write_bytes(b"edited")
        with pytest.raises(ShelfError, match=r"SHA256SUMS: expected sha256:.*it is left alone"):
            await self._shelve()
        (self.folder / "v1" / "SHA256SUMS").write_bytes(FILES["SHA256SUMS"])
        (self.folder / "v1" / "more").touch()
        with pytest.raises(ShelfError, match="it is left alone"):
            await self._shelve()

    async def test_a_tag_with_slashes_has_one_folder_of_its_own(self) -> None:
        await self._shelve("refs/tags/v1/../../../etc")
        assert [p.name for p in self.folder.iterdir()] == ["v1%2F..%2F..%2F..%2Fetc"]

    def test_no_two_tags_share_a_folder(self) -> None:
        refs = [f"refs/tags/{name}" for name in ("v1/a", "v1%2Fa", "v1_a", "v1 a")]
        assert len({place_of(self.folder, ref) for ref in refs}) == len(refs)
