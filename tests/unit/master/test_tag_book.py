"""The book of tags, the listing by real git, the scheduler's rule."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from silvermetal_master.errors import PinningError
from silvermetal_master.tag_book import TagBook
from silvermetal_master.tag_listing import Listing, tags_of
from silvermetal_master.tag_scheduler import why_not
from silvermetal_proof.tags import Tag, TagEntry, baseline

from tests.unit.master.test_pinning import Repository

REF = "refs/tags/v1"
A, B, C, D = (letter * 40 for letter in "abcd")
AT = "2026-03-01T12:00:00Z"
TAGS = r"v[0-9].*"


def test_what_a_name_means_is_what_was_seen_first(tmp_path: Path) -> None:
    book = TagBook(tmp_path)
    assert book.entry(REF) is None
    assert book.saw(REF, A).ids == (A,)
    assert book.saw(REF, C).ids == (A,), "another one is not its meaning"
    assert book.saw(REF, A, B, commit=B).ids == (A, B), "another name of the same is"
    book.check(REF, A, B)
    book.check(REF, D, B)
    with pytest.raises(PinningError, match=f"expected {B}, which it meant first, got {C}: the tag was moved"):
        book.check(REF, D[:-1] + "e", C)
    assert TagBook(tmp_path).entry(REF) == book.entry(REF), "after a restart too"


def test_a_plan_does_not_write_over_what_was_seen_meanwhile(tmp_path: Path) -> None:
    book = TagBook(tmp_path)
    planned = TagEntry(ref=REF, ids=(A, B), commit=B, seen=AT, asked=1)
    book.saw(REF, C)
    assert book.keep(planned).ids == (C,)
    other = planned.model_copy(update={"ref": "refs/tags/v2"})
    book.saw("refs/tags/v2", B)
    kept = book.keep(other)
    assert (set(kept.ids), kept.asked) == ({A, B}, 1)


def test_the_baseline_is_written_once_and_what_changes_of_it_is_kept_beside_it(tmp_path: Path) -> None:
    book = TagBook(tmp_path)
    assert not book.has_baseline()
    book.keep_baseline(baseline({REF: Tag(A, B)}, {}, {}, at=AT))
    assert book.has_baseline()
    with pytest.raises(FileExistsError):
        book.keep_baseline({})
    entry = book.entry(REF)
    assert entry is not None and entry.old
    book.keep(entry.model_copy(update={"state": "deleted"}))
    assert book.entries()[REF].state == "deleted"
    with pytest.raises(PinningError, match="the tag was moved"):
        book.check(REF, C, C)


def test_many_that_see_a_tag_at_once_see_the_same(tmp_path: Path) -> None:
    book = TagBook(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda n: book.saw(REF, f"{n:040x}").ids, range(40)))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("hint", "running", "ended", "starts"),
    [
        (A, False, False, True),
        (A, True, False, False),
        (B, True, False, False),
        (A, False, True, False),
        (B, True, True, False),
        (C, False, False, True),
        (C, True, True, True),
    ],
)
def test_an_event_starts_what_is_not_started_and_what_the_pin_must_refuse(
    hint: str, running: bool, ended: bool, starts: bool
) -> None:
    first = TagEntry(ref=REF, ids=(A, B), seen=AT)
    assert (why_not(first, hint, running=running, ended=ended) is None) is starts


# The listing


def test_tags_are_listed_and_peeled_whatever_their_kind(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    old = repository.first
    new = repository.commit("second")
    repository.git("tag", "v1", old)
    repository.git("tag", "-a", "-m", "x", "v2")
    repository.git("tag", "-a", "-m", "x", "v3", "v2")
    for name in ("nightly", "xv1", "v"):
        repository.git("tag", name)
    repository.git("branch", "v9")
    found = Listing(repository.url).run(TAGS)
    commits = {ref.removeprefix("refs/tags/"): tag.commit for ref, tag in found.items()}
    assert commits == {"v1": old, "v2": new, "v3": new}
    assert found["refs/tags/v1"].object == old
    assert found["refs/tags/v3"].object == repository.git("rev-parse", "v3") != new


def test_what_is_no_line_of_a_listing_is_passed_over() -> None:
    lines = [f"{A}\t{REF}", f"{B}\t{REF}^{{}}", f"{C}\trefs/tags/v2\textra", "warning: x", f"{C[:-1]}\trefs/tags/v3"]
    lines += [f"{C}\trefs/tags/-v4", f"{C}\trefs/heads/v5", f"{D}\trefs/tags/v6^{{}}"]
    assert tags_of("\n".join(lines), TAGS) == {REF: Tag(A, B)}


def _git(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program under the name of git."""
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def _alive(mark: str) -> bool:
    done = subprocess.run(["pgrep", "-f", mark], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("how", ["it hangs", "its helper hangs"])
def test_a_git_that_hangs_ends_with_everything_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    mark = f"31{os.getpid()}{len(how)}"
    _git(tmp_path, f"sleep {mark} &\n" + ("wait" if how == "it hangs" else "exit 0"), monkeypatch)
    with pytest.raises(PinningError, match=r"expected an end within 0\.5 s, got none"):
        Listing("x", seconds=0.5).run(TAGS)
    end = time.monotonic() + 30
    while _alive(f"sleep {mark}"):
        assert time.monotonic() < end, "the helper is still there"


def test_it_can_be_ended_from_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _git(tmp_path, "touch $0.began; exec sleep 300", monkeypatch)
    listing = Listing("x")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            listing.run(TAGS)
        except PinningError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + 30
    while not (tmp_path / "git.began").exists():
        assert time.monotonic() < end
    listing.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert len(failed) == 1


def test_what_git_says_when_it_fails_is_shown_and_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PinningError, match=r"git ls-remote: expected exit code 0, got 128: .*not.*git repository"):
        Listing(str(tmp_path)).run(TAGS)
    _git(tmp_path, "exec yes", monkeypatch)
    with pytest.raises(PinningError, match="expected at most 1000 bytes, got more"):
        Listing("x", most=1000).run(TAGS)
