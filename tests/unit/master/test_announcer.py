"""The announcer over real records: what is told, when, and that nothing is told twice or forgotten by a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.notices.announcer import Announcer
from silvermetal_master.notices.outbox import Message, Outbox
from silvermetal_master.notices.words import Audience
from silvermetal_master.recovery import ABANDONED
from silvermetal_proof.verdict import Submission, Verdict, decide

from tests.unit.master.test_steps import open_build
from tests.unit.proof.makers import COMMIT, REF, A, B, case, hex64

EVERYBODY = Audience(title="T", url="https://m/", statuses=True, mail=True, webhook=True)
DIVERGED = decide(case(A, B.but(iso=hex64("another"))))
REPRODUCED = decide(case(A, B))
LATER, EARLIER = "2999-01-01T00:00:00Z", "2000-01-01T00:00:00Z"


class Desk:
    """One announcer and its outbox; a new one is the same after a restart."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.announcer = Announcer(state=str(state), audience=EVERYBODY)
        self.announcer.reconfigService(state=str(state), audience=EVERYBODY)

    def look(self) -> list[Message]:
        """Look; what is in the outbox then is taken out of it, as if it were sent."""
        self.announcer._look()
        box = Outbox(self.state)
        found = box.waiting()
        for message in found:
            box.sent(message)
        return found

    def states(self) -> list[str]:
        return [f"{m.channel} {m.payload.get('state', '')}".strip() for m in self.look()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def judge(record: BuildRecord, verdict: Verdict, decided: str = LATER) -> None:
    """As the steps do: decide, and enter it in the ledger."""
    record.close(verdict.model_copy(update={"decided": decided}))
    record.write("ledger-index", b"0\n")


def test_pending_then_the_end_each_once_over_restarts(desk: Desk) -> None:
    assert desk.states() == []
    record = open_build(desk.state)
    assert desk.states() == ["status pending"]
    assert desk.states() == Desk(desk.state).states() == []
    record.close(DIVERGED.model_copy(update={"decided": LATER}))
    assert desk.states() == [], "what is not in the ledger yet is not told"
    record.write("ledger-index", b"0\n")
    assert sorted(desk.states()) == ["mail", "status failure", "webhook"]
    assert desk.states() == Desk(desk.state).states() == []


def test_reproduced_is_a_status_and_no_notice(desk: Desk) -> None:
    judge(open_build(desk.state), REPRODUCED)
    (message,) = desk.look()
    assert (message.payload["state"], message.payload["commit"]) == ("success", COMMIT)


def test_a_crash_between_outbox_and_mark_tells_the_same_again_under_the_same_key(desk: Desk) -> None:
    record = open_build(desk.state)
    judge(record, DIVERGED)
    first = desk.look()
    record.file("announced").unlink()
    again = Desk(desk.state).look()
    assert sorted(m.key for m in first) == sorted(m.key for m in again)
    ids = {m.payload.get("id") or m.payload.get("delivery") for m in first + again if m.channel != "status"}
    assert len(ids) == 1


def test_what_ended_before_the_service_began_is_not_told(desk: Desk) -> None:
    judge(open_build(desk.state), DIVERGED, EARLIER)
    BuildStore(desk.state).note("refs/tags/v0", {"failed": "long ago", "at": EARLIER})
    BuildStore(desk.state).note("refs/tags/v00", {"failed": "by an older version"})
    assert desk.states() == []


def test_an_abandoned_build_is_told_but_is_not_the_commits_status(desk: Desk) -> None:
    left = tuple(Submission(h.name, None, problem=ABANDONED, ours=True) for h in (A, B))
    judge(open_build(desk.state), decide(case(A, B, submissions=list(left))))
    assert sorted(desk.states()) == ["mail", "webhook"]


def test_a_failure_without_a_verdict_is_told_once_each_time_that_it_happens(desk: Desk) -> None:
    store = BuildStore(desk.state)
    store.note(REF, {"failed": "no image", "at": LATER, "commit": COMMIT, "page": "https://m/#/builds/1"})
    found = desk.look()
    assert sorted(m.channel for m in found) == ["mail", "status", "webhook"]
    (status,) = [m for m in found if m.channel == "status"]
    assert (status.payload["state"], status.payload["target_url"]) == ("error", "https://m/#/builds/1")
    assert desk.states() == Desk(desk.state).states() == []
    store.note(REF, {"failed": "no image", "at": LATER.replace("01-01", "01-02")})
    assert sorted(desk.states()) == ["mail", "webhook"], "where no commit is known there is no status"


def test_a_damaged_record_stops_no_other(desk: Desk) -> None:
    broken = desk.state / "builds" / ("f" * 32)
    broken.mkdir(parents=True)
    (broken / "request.json").write_bytes(b"{")
    (desk.state / "by-ref").mkdir()
    (desk.state / "by-ref" / "0.json").write_bytes(b"{")
    BuildStore(desk.state).note("refs/tags/v9", {"failed": "no image", "at": LATER})
    judge(open_build(desk.state), REPRODUCED)
    assert sorted(desk.states()) == ["mail", "status success", "webhook"]
