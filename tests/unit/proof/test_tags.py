"""The plan for a repository's tags: a table, and any history that a repository, a hook and crashes can make."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_proof.backoff import backoff
from silvermetal_proof.tags import (
    LONGEST_PAUSE,
    MAX_ASKED,
    MAX_TOLD,
    Kind,
    Progress,
    Tag,
    TagEntry,
    baseline,
    plan,
    unended,
)

AT = "2026-03-01T12:00:00Z"
REF = "refs/tags/v1"
A, B, C = (Tag(letter * 40, letter.replace("a", "1").replace("b", "2").replace("c", "3") * 40) for letter in "abc")


def entry(tag: Tag = A, **more: object) -> TagEntry:
    return TagEntry(ref=REF, ids=(tag.object, tag.commit), commit=tag.commit, seen=AT).model_copy(update=more)


NONE, RUNNING, ENDED = Progress.NONE, Progress.RUNNING, Progress.ENDED
# What is listed, what is known, how far it came: what is told, whether it is started, its state afterwards.
TABLE: dict[str, tuple[Tag | None, TagEntry | None, Progress, list[Kind], bool, str | None]] = {
    "new": (A, None, NONE, [], True, "there"),
    "new, and a hook was faster": (A, None, RUNNING, [], False, "there"),
    "known and never started": (A, entry(), NONE, [], True, "there"),
    "it runs": (A, entry(), RUNNING, [], False, None),
    "it ended": (A, entry(), ENDED, [], False, None),
    "asked for a moment ago": (A, entry(asked=1, asked_at=999), NONE, [], False, None),
    "asked for long ago": (A, entry(asked=1, asked_at=900), NONE, [], True, "there"),
    "asked for too often": (A, entry(asked=MAX_ASKED, asked_at=0), NONE, [], False, None),
    "from before the service": (A, entry(old=True), NONE, [], False, None),
    "moved before it was started": (B, entry(), NONE, [Kind.MOVED], False, "moved"),
    "moved while it runs": (B, entry(), RUNNING, [Kind.MOVED], False, "moved"),
    "moved after its end": (B, entry(), ENDED, [Kind.MOVED], False, "moved"),
    "moved, from before the service": (B, entry(old=True), NONE, [Kind.MOVED], False, "moved"),
    "moved, and that was told": (B, entry(state="moved", now=B.commit), NONE, [], False, None),
    "moved once more": (C, entry(state="moved", now=B.commit), NONE, [Kind.MOVED], False, "moved"),
    "moved back": (A, entry(state="moved", now=B.commit), ENDED, [Kind.BACK], False, "there"),
    "moved back and never started": (A, entry(state="moved", now=B.commit), NONE, [Kind.BACK], True, "there"),
    "deleted": (None, entry(), NONE, [Kind.DELETED], False, "deleted"),
    "deleted, and that was told": (None, entry(state="deleted"), NONE, [], False, None),
    "deleted, from before the service": (None, entry(old=True), NONE, [Kind.DELETED], False, "deleted"),
    "back after its deletion": (A, entry(state="deleted"), ENDED, [Kind.BACK], False, "there"),
    "another one after its deletion": (B, entry(state="deleted"), ENDED, [Kind.MOVED], False, "moved"),
    "tagged anew": (Tag(B.object, A.commit), entry(), ENDED, [Kind.RETAGGED], False, "there"),
    "known by an event's commit alone": (A, entry(ids=(A.commit,), commit=None), RUNNING, [], False, "there"),
    "known by an event's object alone": (A, entry(ids=(A.object,), commit=None), RUNNING, [], False, "there"),
    "an event named what it never was": (A, entry(ids=(C.object,), commit=None), ENDED, [Kind.MOVED], False, "moved"),
}


@pytest.mark.parametrize("name", TABLE)
def test_plan(name: str) -> None:
    tag, known, progress, told, started, state = TABLE[name]
    listed = {REF: tag} if tag is not None else {}
    made = plan(listed, {REF: known} if known else {}, {REF: progress}, now=1000, at=AT)
    kinds = [e.kind for e in made.events]
    if name == "asked for too often":
        assert (kinds, made.start) == ([], []), "its last pause is not over"
        later = plan(listed, {REF: entry(asked=MAX_ASKED)}, {REF: progress}, now=LONGEST_PAUSE, at=AT)
        assert ([e.kind for e in later.events], later.start) == ([Kind.GIVEN_UP], [])
        again = plan(listed, later.entries, {REF: progress}, now=10**6, at=AT)
        assert (again.events, again.start, again.entries) == ([], [], {})
        return
    assert (kinds, made.start) == (told, [REF] if started else [])
    assert (made.entries[REF].state if REF in made.entries else None) == state
    if kinds:
        assert made.entries[REF].told[-1] == f"{AT} {made.events[0].sentence}"
    if tag is not None and state == "there":
        assert made.entries[REF].means(tag.object) and made.entries[REF].means(tag.commit)


def test_a_moved_tag_names_what_was_expected_and_got() -> None:
    (event,) = plan({REF: B}, {REF: entry()}, {}, now=0, at=AT).events
    assert event.alarm
    assert f"expected {A.commit}, which it meant first, got {B.commit}" in event.sentence
    (event,) = plan({}, {REF: entry()}, {}, now=0, at=AT).events
    assert not event.alarm


def test_what_was_there_at_the_first_look_is_watched_and_never_started() -> None:
    listed = {REF: A, "refs/tags/v2": B, "refs/tags/v3": C}
    fresh = TagEntry(ref="refs/tags/v3", ids=(C.commit,), seen=AT)
    found = baseline(listed, {fresh.ref: fresh}, {"refs/tags/v2": A.commit}, at=AT)
    assert set(found) == {REF, "refs/tags/v2"}, "a tag that a hook brought meanwhile is new"
    made = plan(listed, {**found, fresh.ref: fresh}, {}, now=0, at=AT)
    assert made.start == ["refs/tags/v3"]
    (moved,) = made.events
    assert (moved.ref, moved.kind) == ("refs/tags/v2", Kind.MOVED), "it has a verdict for another commit"
    assert unended(listed, {**found, fresh.ref: fresh}) == ["refs/tags/v3"]


def test_what_the_last_master_asked_for_is_asked_for_again_at_once_and_not_without_end() -> None:
    known = {REF: entry(asked=3, asked_at=999)}
    assert plan({REF: A}, known, {}, now=1000, at=AT, began=990).start == []
    assert plan({REF: A}, known, {}, now=1000, at=AT, began=1000).start == [REF]
    started = 0
    for now in range(1000, 1100):
        made = plan({REF: A}, known, {}, now=now, at=AT, began=now)
        known |= made.entries
        started += len(made.start)
    assert started == MAX_ASKED - 3


def test_the_list_of_what_was_told_is_bounded() -> None:
    known = {REF: entry()}
    for number in range(3 * MAX_TOLD):
        known |= plan({REF: (A, B)[number % 2]}, known, {REF: ENDED}, now=0, at=AT).entries
    assert len(known[REF].told) == MAX_TOLD
    for number in range(100):
        tag = Tag(f"{number:040x}", A.commit)
        known |= plan({REF: tag}, known, {REF: ENDED}, now=0, at=AT).entries
        assert plan({REF: tag}, known, {REF: ENDED}, now=0, at=AT).events == []
    assert known[REF].means(A.commit) and known[REF].means(A.object)


@given(st.integers(-5, 10**6))
def test_pauses_double_and_are_bounded(failures: int) -> None:
    pause = backoff(failures, first=5, most=300)
    assert 0 <= pause <= 300
    assert pause <= backoff(failures + 1, first=5, most=300)
    assert (pause == 0) is (failures <= 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from(["refs/tags/v1", "refs/tags/v2"]), st.sampled_from([A, B, C])),
        st.tuples(st.just("delete"), st.sampled_from(["refs/tags/v1", "refs/tags/v2"]), st.none()),
        st.tuples(st.just("look"), st.booleans(), st.none()),
        st.tuples(st.just("hook"), st.sampled_from(["refs/tags/v1", "refs/tags/v2"]), st.none()),
        st.tuples(st.just("end"), st.sampled_from(["refs/tags/v1", "refs/tags/v2"]), st.none()),
    ),
    max_size=40,
)


class World:
    """A repository, a master that may lose what it was asked for, and what each verification was pinned to."""

    def __init__(self, there: Mapping[str, Tag]) -> None:
        self.tags = dict(there)
        self.known = baseline(there, {}, {}, at=AT)
        self.progress: dict[str, Progress] = {}
        self.built: list[tuple[str, str]] = []
        self.now = 0

    def start(self, ref: str) -> None:
        """The scheduler's rule: one verification a ref; and the pin's: never at another commit."""
        if ref not in self.tags or self.progress.get(ref, NONE) is not NONE:
            return
        tag = self.tags[ref]
        self.known.setdefault(ref, TagEntry(ref=ref, ids=(tag.commit,), seen=AT))
        if not self.known[ref].means(tag.object, tag.commit):
            self.progress[ref] = ENDED
            return
        self.progress[ref] = RUNNING
        self.built.append((ref, tag.commit))

    def look(self, lost: bool) -> None:
        self.now += LONGEST_PAUSE
        made = plan(self.tags, self.known, self.progress, now=self.now, at=AT)
        self.known |= made.entries
        for ref in made.start:
            assert not self.known[ref].old
            assert self.known[ref].state == "there"
            if not lost:
                self.start(ref)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["refs/tags/v0", "refs/tags/v1"]), st.sampled_from([A, B])), STEPS)
def test_any_history_builds_each_tag_once_and_never_what_was_moved(there: dict[str, Tag], steps: list[tuple]) -> None:  # type: ignore[type-arg]
    world = World(there)
    for what, ref, tag in steps:
        if what == "push":
            world.tags[ref] = tag
        elif what == "delete":
            world.tags.pop(ref, None)
        elif what == "look":
            world.look(lost=ref)
        elif what == "hook":
            world.start(ref)
        elif world.progress.get(ref) is RUNNING:
            world.progress[ref] = ENDED
    refs = [ref for ref, _ in world.built]
    assert len(refs) == len(set(refs)), "each tag once"
    for ref, commit in world.built:
        assert world.known[ref].means(commit)
    before = len(world.built)
    for _ in range(3):
        world.look(lost=False)
    assert plan(world.tags, world.known, world.progress, now=world.now, at=AT).events == [], "told once"
    for ref in world.tags:
        known = world.known[ref]
        if not known.old and known.state == "there" and known.asked <= MAX_ASKED:
            assert ref in [r for r, _ in world.built], "nothing that is new and was not moved is forgotten"
    assert len(world.built) >= before
