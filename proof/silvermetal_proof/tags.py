"""What is to be done about a repository's tags: the plan, from what is listed, what is known and what was started.

Rules:

- The first object that was seen under a name is what the name means, for ever. A tag that names another commit was
  *moved*: that is an alarm and never starts anything, whenever it happens.
- A tag that is there, is known to be new and was never started is started; one that ended in any way is left alone.
  What was asked for and came to nothing is asked for again with growing pauses, a bounded number of times.
- Tags that were there before the service began (the baseline) are watched, and never started.
- A deleted tag is noted, and so is its return; each change is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from silvermetal_proof.backoff import backoff
from silvermetal_proof.model import Commit, Record, Time
from silvermetal_proof.statement.schema import Ref

MAX_ASKED = 8
FIRST_PAUSE = 60
LONGEST_PAUSE = 3600
MAX_TOLD = 50
"""Changes that are kept of one tag."""
MAX_IDS = 16


@dataclass(frozen=True)
class Tag:
    """What a tag names now: its object, and the commit that this peels to (the same for a lightweight tag)."""

    object: str
    commit: str


class TagEntry(Record):
    """What the master knows of one tag."""

    ref: Ref
    ids: Annotated[tuple[Commit, ...], Field(min_length=1, max_length=MAX_IDS)]
    """What the name meant first: the tag's object, its commit, or both; an event names one of them."""
    commit: Commit | None = None
    """The commit that it meant first, once the master knows it."""
    old: bool = False
    """There before the service began."""
    seen: Time
    asked: Annotated[int, Field(ge=0)] = 0
    """How often a verification was asked for by the reconciler."""
    asked_at: Annotated[int, Field(ge=0)] = 0
    """When last, in seconds since 1970."""
    state: Literal["there", "moved", "deleted"] = "there"
    now: Commit | None = None
    """The commit that it names now, where it was moved; the object, where it was tagged anew."""
    told: Annotated[tuple[Annotated[str, Field(max_length=400)], ...], Field(max_length=MAX_TOLD)] = ()
    """What became of it, a sentence each, oldest first."""

    def means(self, *ids: str | None) -> bool:
        """Whether one of ``ids`` is what the name meant first."""
        return any(i in self.ids for i in ids)

    def also(self, *ids: str) -> TagEntry:
        """The entry with further names of the same commit."""
        new = tuple(i for i in dict.fromkeys(ids) if i not in self.ids)
        if not new:
            return self
        # The first two are what the name meant first; of the further ones the newest are kept.
        first, later = self.ids[:2], (*self.ids[2:], *new)
        return self.model_copy(update={"ids": (*first, *later[-(MAX_IDS - len(first)) :])})


class Progress(StrEnum):
    """How far a tag's verification came."""

    NONE = "none"
    """It was never asked for, or what was asked for came to nothing."""
    RUNNING = "running"
    ENDED = "ended"
    """With a verdict, with a reason why there is none, or because somebody cancelled it."""


class Kind(StrEnum):
    """What can become of a tag."""

    MOVED = "moved"
    DELETED = "deleted"
    BACK = "back"
    RETAGGED = "tagged anew"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class TagEvent:
    """Something that people should know."""

    ref: str
    kind: Kind
    sentence: str
    now: str | None = None

    @property
    def alarm(self) -> bool:
        """Whether somebody must look."""
        return self.kind in (Kind.MOVED, Kind.GIVEN_UP)


@dataclass
class Plan:
    """What to do: entries to keep first, then what to tell, then what to start."""

    entries: dict[str, TagEntry] = field(default_factory=dict)
    events: list[TagEvent] = field(default_factory=list)
    start: list[str] = field(default_factory=list)


def baseline(
    listed: Mapping[str, Tag], known: Mapping[str, TagEntry], judged: Mapping[str, str], *, at: str
) -> dict[str, TagEntry]:
    """The entries of tags that are there at the service's first look. ``judged``: ref to the commit of its verdict."""
    found = {}
    for ref, tag in listed.items():
        if ref not in known:
            ids = (judged[ref],) if ref in judged else tuple(dict.fromkeys((tag.object, tag.commit)))
            found[ref] = TagEntry(ref=ref, ids=ids, commit=ids[-1], old=True, seen=at)
    return found


def plan(
    listed: Mapping[str, Tag],
    known: Mapping[str, TagEntry],
    progress: Mapping[str, Progress],
    *,
    now: int,
    at: str,
    began: int = 0,
) -> Plan:
    """What to do now. ``progress`` has the tags of :func:`unended`.

    ``now`` is in seconds since 1970, ``at`` the same as text, ``began`` when this master began.
    """
    made = Plan()
    for ref in sorted(listed):
        tag, entry = listed[ref], known.get(ref)
        if entry is None:
            entry = TagEntry(ref=ref, ids=tuple(dict.fromkeys((tag.object, tag.commit))), commit=tag.commit, seen=at)
            made.entries[ref] = entry
        entry = _look(made, entry, tag, at)
        if entry.state == "there" and not entry.old and progress.get(ref, Progress.NONE) is Progress.NONE:
            _ask(made, entry, now, at, began)
    for ref in sorted(known.keys() - listed.keys()):
        if known[ref].state != "deleted":
            sentence = f"{ref} was deleted; what was decided about it stays"
            _tell(made, known[ref], at, TagEvent(ref, Kind.DELETED, sentence), state="deleted", now=None)
    return made


def unended(listed: Mapping[str, Tag], known: Mapping[str, TagEntry]) -> list[str]:
    """The tags of which :func:`plan` must know the progress."""
    return [ref for ref in sorted(listed) if (entry := known.get(ref)) is None or not entry.old]


def _look(made: Plan, entry: TagEntry, tag: Tag, at: str) -> TagEntry:
    """What a listed tag names now, against what it meant first."""
    ref = entry.ref
    if not entry.means(tag.object, tag.commit):
        if entry.state == "moved" and entry.now == tag.commit:
            return entry
        sentence = (
            f"{ref} was moved: expected {entry.commit or entry.ids[0]}, which it meant first, got {tag.commit}; "
            "the new commit is not built, and needs a tag of its own"
        )
        return _tell(made, entry, at, TagEvent(ref, Kind.MOVED, sentence, tag.commit), state="moved", now=tag.commit)
    if entry.state != "there":
        sentence = f"{ref} is back: it means {tag.commit}, as it did first"
        entry = _tell(made, entry, at, TagEvent(ref, Kind.BACK, sentence, tag.commit), state="there", now=None)
    if not entry.means(tag.object):
        # An event may name the commit alone: then this is no change, but the first sight of the object.
        known_object = len(entry.ids) > 1
        entry = entry.also(tag.object)
        if known_object:
            sentence = f"{ref} was tagged anew: another tag object, {tag.object}, of the same commit {tag.commit}"
            entry = _tell(made, entry, at, TagEvent(ref, Kind.RETAGGED, sentence, tag.object))
        made.entries[ref] = entry
    if entry.commit is None:
        entry = entry.also(tag.commit).model_copy(update={"commit": tag.commit})
        made.entries[ref] = entry
    return entry


def _ask(made: Plan, entry: TagEntry, now: int, at: str, began: int) -> None:
    """Start it, unless it was asked for too often, or a short while ago."""
    # What was on its way when the last master died is lost for sure: nothing is waited for.
    pause = backoff(entry.asked, first=FIRST_PAUSE, most=LONGEST_PAUSE) if entry.asked_at >= began else 0
    if entry.asked > MAX_ASKED or now < entry.asked_at + pause:
        return
    if entry.asked == MAX_ASKED:
        sentence = f"{entry.ref}: its verification was asked for {MAX_ASKED} times and came to nothing each time"
        entry = _tell(made, entry, at, TagEvent(entry.ref, Kind.GIVEN_UP, sentence))
    else:
        made.start.append(entry.ref)
    made.entries[entry.ref] = entry.model_copy(update={"asked": entry.asked + 1, "asked_at": now})


def _tell(made: Plan, entry: TagEntry, at: str, event: TagEvent, **changes: str | None) -> TagEntry:
    made.events.append(event)
    told = (*entry.told, f"{at} {event.sentence}"[:400])[-MAX_TOLD:]
    entry = entry.model_copy(update={**changes, "told": told})
    made.entries[entry.ref] = entry
    return entry
