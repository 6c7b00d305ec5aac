"""The orders of builds that explain a divergence: who gets one, when, and what its answer may say."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master import attribution
from silvermetal_master.attribution import Round
from silvermetal_master.build_store import BuildRecord, BuildStore, NoSuchBuildError
from silvermetal_master.pinning import Pinned
from silvermetal_master.settings import Settings, load
from silvermetal_proof.attribution import Inquiry, Kind, stopped
from silvermetal_proof.digest import sha256
from silvermetal_proof.order import Order
from silvermetal_proof.pins import Pins, parse_recipe
from silvermetal_proof.statement import sign
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict import Outcome, Submission, decide

from tests.unit.master.site import HOSTS, make_site
from tests.unit.proof.makers import BUILD, COMMIT, REF, A, B, Host, case, hex64
from tests.unit.proof.test_pins import PACKAGE, lock

PLAN = Variation(umask="0077", time_zone="Asia/Kathmandu")
OTHER = B.but(iso=hex64("other"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(make_site(tmp_path))


@pytest.fixture
def record(tmp_path: Path) -> BuildRecord:
    """A build that diverged, judged and recorded."""
    recipe = parse_recipe(b'PACKAGES="bash"\n', "minimal-live")
    data = lock(PACKAGE)
    pins = Pins(
        recipe=recipe.name, recipe_conf=recipe.digest, source_date_epoch=1, builder_image=sha256(b"image"),
        lock=sha256(data), settings=recipe.settings,
    )  # fmt: skip
    store = BuildStore(tmp_path / "state")
    store.folder(BUILD)
    made = store.open_build(
        BUILD,
        Pinned(REF, COMMIT, recipe, pins, data, "resolved"),
        repository="https://git.example.org/x.git",
        workers={h: h for h in HOSTS},
        nonces={h: hex64("nonce", h) for h in HOSTS},
        timeout=600,
        variations={"host-b": PLAN},
    )
    made.close(decide(case(A, OTHER)))
    made.write("ledger-index", b"0\n")
    for host in (A, OTHER):
        made.write("statements/{host}.json", host.envelope, host=host.name)
    return made


def order(record: BuildRecord, this: Round, host: str) -> Order:
    return Order.read(this.order_of(host).read_bytes())


def test_the_question_is_over_the_plans_that_were_ordered(record: BuildRecord, settings: Settings) -> None:
    question = attribution.question_of(record, settings, "host-a", "host-b")
    assert question.factors == ("environment", "umask", "time_zone")
    assert question.digests == (A.iso, OTHER.iso)
    assert question.plans == (Variation(), PLAN)
    assert Order.read(record.file("orders/{host}.json", "host-b").read_bytes()).variation == PLAN


def test_each_build_has_an_order_a_nonce_and_a_mark_of_its_own(record: BuildRecord, settings: Settings) -> None:
    question = attribution.question_of(record, settings, "host-a", "host-b")
    one, two = (Round.open(record, question, ((), ("environment", "umask"))) for _ in range(2))
    orders = [order(record, this, host) for this in (one, two) for host in HOSTS]
    verdicts = [Order.read(record.file("orders/{host}.json", host).read_bytes()) for host in HOSTS]
    assert len({o.nonce for o in (*orders, *verdicts)}) == 6
    assert {o.attribution for o in orders} == {BUILD}
    assert {o.attribution for o in verdicts} == {None}
    assert {o.build for o in orders} == {one.id, two.id}
    assert len({o.seal_key for o in (*orders, *verdicts)}) == 3
    assert [o.variation for o in orders] == [None, Variation(umask="0077")] * 2
    assert all(one.order_of(host).stat().st_mode & 0o077 == 0 for host in HOSTS), "a nonce is for one host"


def test_h4_nobody_gets_an_order_of_a_round_that_is_over_or_never_was(record: BuildRecord, settings: Settings) -> None:
    question = attribution.question_of(record, settings, "host-a", "host-b")
    this = Round.open(record, question, (("environment",),))
    this.order_of("host-b")
    with pytest.raises(NoSuchBuildError, match="did not ask host host-a"):
        this.order_of("host-a")
    this.close()
    with pytest.raises(NoSuchBuildError, match="that is under way, got one that is over"):
        this.order_of("host-b")
    for name in (None, 7, "", "../" + "0" * 29, "f" * 31):
        with pytest.raises(NoSuchBuildError, match="expected the id of a round"):
            Round(record, name)
    with pytest.raises(NoSuchBuildError, match="over or none"):
        Round(record, "f" * 32).order_of("host-b")
    again = Round.open(record, question, ((),))
    attribution.close_rounds(record)
    with pytest.raises(NoSuchBuildError):
        again.order_of("host-a")


def test_only_a_recorded_divergence_is_attributed(record: BuildRecord, settings: Settings) -> None:
    attribution.check_admissible(record)
    record.file("ledger-index").unlink()
    with pytest.raises(NoSuchBuildError, match="in the ledger"):
        attribution.check_admissible(record)
    record.write("ledger-index", b"0\n")
    record.close(decide(case(A, B)))
    with pytest.raises(NoSuchBuildError, match="DIVERGED"):
        attribution.check_admissible(record)
    with pytest.raises(NoSuchBuildError, match="expected two digests"):
        attribution.question_of(record, settings, "host-a", "host-b")


def answer(record: BuildRecord, settings: Settings, change: dict[str, Any], **host: Any) -> Any:
    """What host-b's answer says when its honest statement is changed."""
    question = attribution.question_of(record, settings, "host-a", "host-b")
    this = Round.open(record, question, (("environment", "umask"),))
    asked = order(record, this, "host-b")
    says = {
        "build": this.id,
        "nonce": asked.nonce,
        "worker": "host-b",
        "pins": asked.pins.digest,
        "repository": asked.repository,
    }
    honest = {"variation": Variation(umask="0077"), "attribution": BUILD, "iso": hex64("third"), **host}
    told: Host = B.but(says={**says, **change}, **honest, observation_changes={"worker": "host-b"})
    envelope = sign(told.payload, B.key)
    # The fixture's pins name inputs that the maker's statement does not have: only the commit is compared here.
    request = this.request.model_copy(update={"expected_inputs": {"commit": COMMIT}})
    record.write(f"attribution/{this.id}/request.json", request.encode())
    return this.answer(settings, ("environment", "umask"), Submission("host-b", told.observation, envelope=envelope))


@pytest.fixture
def at_that_time(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Settings:
    """The case is as of the makers' day."""
    original = attribution.case_of
    monkeypatch.setattr(attribution, "case_of", lambda *a: replace(original(*a), at="2026-03-01T12:30:00Z"))
    return settings


def test_an_honest_answer_is_a_digest(record: BuildRecord, at_that_time: Settings) -> None:
    tried = answer(record, at_that_time, {})
    assert (tried.digest, tried.problem, tried.seconds) == (hex64("third"), None, 600)


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "of the verdict": ({"build": BUILD}, {}, "build: expected"),
    "with the nonce of the verdict": ({"nonce": B.nonce}, {}, "nonce: expected"),
    "without the mark": ({}, {"attribution": None}, "attribution: expected"),
    "of another inquiry": ({}, {"attribution": "f" * 32}, "attribution: expected"),
    "without the variation": ({}, {"variation": None}, "variation: expected umask=0077, got none"),
    "of all the plan": ({}, {"variation": PLAN}, "variation: expected umask=0077, got umask=0077 time_zone"),
    "from other inputs": ({}, {"build_info": {"RECIPE": "minimal-live", "TZ": "CET"}}, "other inputs than the diverged build: BUILD_INFO TZ"),
    "of no ISO": ({}, {"bootable": False}, "not bootable"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_does_not_fit_says_nothing(record: BuildRecord, at_that_time: Settings, name: str) -> None:
    change, host, said = BROKEN[name]
    tried = answer(record, at_that_time, change, **host)
    assert tried.digest is None
    assert said in tried.problem


def test_the_report_lies_beside_the_verdict_and_changes_nothing_of_it(record: BuildRecord, settings: Settings) -> None:
    before = {p.name: p.read_bytes() for p in record.path.glob("*") if p.is_file()}
    question = attribution.question_of(record, settings, "host-a", "host-b")
    inquiry = Inquiry(question=question)
    attribution.save(record, inquiry)
    assert attribution.load(record) == inquiry
    conclusion = stopped(inquiry, "somebody <stopped> it")
    assert conclusion.kind is Kind.OPEN
    said = attribution.conclude(record, inquiry, conclusion)
    report = attribution.report_of(record)
    assert report is not None
    assert report["summary"] == said
    assert "&lt;stopped&gt;" in record.file("attribution.html").read_text()
    assert {p.name: p.read_bytes() for p in record.path.glob("*") if p.name in before} == before
    assert record.verdict.outcome is Outcome.DIVERGED
    payload = base64.b64decode(json.loads(record.file("statements/{host}.json", "host-b").read_bytes())["payload"])
    assert b"silvermetal_attribution" not in payload
