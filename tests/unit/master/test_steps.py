"""Steps by Buildbot's own step mixin: what is handed over, how much is taken, and that the judge always ends."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.errors import PinningError
from silvermetal_master.pinning import Pinned
from silvermetal_master.steps import CollectStatement, Handover, Judge, Pin, Preflight
from silvermetal_master.steps.collect import BoundedBytes, TooLargeError
from silvermetal_master.steps.explain import pair
from silvermetal_master.steps.of_build import BUILD_PROPERTY, REQUESTS_PROPERTY
from silvermetal_proof.digest import sha256
from silvermetal_proof.pins import Pins, parse_recipe
from silvermetal_proof.seal.hpke import MAX_SEALED_BYTES
from silvermetal_proof.verdict import Outcome, decide

from tests.unit.master.site import HOSTS, make_site
from tests.unit.proof.makers import BUILD, COMMIT, REF, A, B, C, case, hex64
from tests.unit.proof.test_pins import PACKAGE, lock

# Importing buildbot.test turns warnings into errors (H12); ours stay as they are.
with warnings.catch_warnings():
    from buildbot.process.results import FAILURE, SKIPPED, SUCCESS
    from buildbot.test.reactor import TestReactorMixin
    from buildbot.test.steps import ExpectDownloadFile, ExpectShell, ExpectUploadFile, TestBuildStepMixin
    from twisted.trial import unittest


def pinned() -> Pinned:
    recipe = parse_recipe(b'PACKAGES="bash"\n', "minimal-live")
    data = lock(PACKAGE)
    pins = Pins(
        recipe=recipe.name,
        recipe_conf=recipe.digest,
        source_date_epoch=1,
        builder_image=sha256(b"image"),
        lock=sha256(data),
        settings=recipe.settings,
    )
    return Pinned(REF, COMMIT, recipe, pins, data, "resolved")


def open_build(state: Path) -> BuildRecord:
    """A build of which two hosts were asked."""
    store = BuildStore(state)
    store.folder(BUILD)
    return store.open_build(
        BUILD,
        pinned(),
        repository="https://git.example.org/x.git",
        workers={h: h for h in HOSTS},
        nonces={h: hex64("nonce", h) for h in HOSTS},
        timeout=600,
    )


class Steps(TestBuildStepMixin, TestReactorMixin, unittest.TestCase):
    """Each test runs one step against a worker that answers as the test says."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.state = tmp_path / "state"

    async def setUp(self) -> None:
        self.setup_test_reactor()
        await self.setup_test_build_step()
        self.record = open_build(self.state)

    async def _step(self, step: Any, **properties: Any) -> Any:
        self.setup_step(step)
        self.build.executedSteps = []
        for name, value in {BUILD_PROPERTY: BUILD, **properties}.items():
            self.build.setProperty(name, value, "test")
        return step

    # Preflight

    async def test_the_host_is_told_the_clock_of_the_moment_the_step_starts(self) -> None:
        step = await self._step(Preflight())
        said: list[float] = []

        class _Now:
            def __eq__(self, other: object) -> bool:
                said.append(float(str(other)))
                return True

            __hash__ = None  # type: ignore[assignment]

        before = time.time()
        command = ["silvermetal-worker", "preflight", "--order", "../order.json", "--master-time", _Now()]
        self.expect_commands(
            ExpectShell(
                workdir="wkdir", command=command, log_environ=False, timeout=2400, max_time=2400, sigterm_time=15
            ).exit(0)
        )
        self.expect_outcome(result=SUCCESS, state_string="the host is ready")
        await self.run_step()
        assert step.name == "preflight"
        assert said
        assert before - 0.01 <= said[-1] <= time.time()

    # Handover

    async def _refused(self, text: str, **properties: Any) -> None:
        await self._step(Handover(host="host-a", state=str(self.state)), **properties)
        self.expect_outcome(result=FAILURE, state_string=text)
        await self.run_step()

    async def test_h4_a_build_that_is_judged_hands_over_nothing(self) -> None:
        self.record.close(decide(case(A, B)))
        await self._refused(
            f"no order for this host: build {BUILD} is judged already: nothing that is built now can count"
        )

    async def test_h4_a_forced_child_without_a_build_hands_over_nothing(self) -> None:
        await self._refused(
            "no order for this host: expected the id of a build of this master, got 'None'", **{BUILD_PROPERTY: None}
        )

    async def test_h4_a_forced_child_with_a_made_up_build_hands_over_nothing(self) -> None:
        await self._refused(
            f"no order for this host: expected the id of a build of this master, got {'f' * 32!r}",
            **{BUILD_PROPERTY: "f" * 32},
        )

    async def test_h4_a_path_for_a_build_hands_over_nothing(self) -> None:
        build = f"../builds/{BUILD}"
        await self._refused(
            f"no order for this host: expected the id of a build of this master, got {build!r}",
            **{BUILD_PROPERTY: build},
        )

    async def test_h4_a_host_that_was_not_asked_gets_nothing(self) -> None:
        await self._step(Handover(host="host-z", state=str(self.state)))
        self.expect_outcome(
            result=FAILURE, state_string=f"no order for this host: build {BUILD} did not ask host host-z"
        )
        await self.run_step()

    async def test_an_order_goes_to_its_own_host_only_by_file(self) -> None:
        await self._step(Handover(host="host-a", state=str(self.state)))
        got: dict[str, bytes] = {}

        self.expect_commands(
            ExpectDownloadFile(
                blocksize=128 * 1024, maxsize=None, mode=0o600, workdir=".", workerdest="order.json", reader=_Any()
            )
            .download_string(lambda data: got.update(order=data), size=1 << 20)
            .exit(0),
            ExpectDownloadFile(
                blocksize=128 * 1024, maxsize=None, mode=0o600, workdir=".", workerdest="packages.lock", reader=_Any()
            )
            .download_string(lambda data: got.update(lock=data), size=1 << 20)
            .exit(0),
        )
        self.expect_outcome(result=SUCCESS, state_string="order of host-a handed over")
        await self.run_step()
        order = json.loads(got["order"])
        assert (order["host"], order["nonce"]) == ("host-a", hex64("nonce", "host-a"))
        assert hex64("nonce", "host-b").encode() not in got["order"]
        assert self.record.sealing_key().to_hex().encode() not in got["order"]
        assert got["lock"] == pinned().lock

    # CollectStatement

    async def _collect(self, *writes: bytes, code: int = 0) -> None:
        await self._step(CollectStatement(state=str(self.state)))
        self.worker.conn = None
        expected = ExpectUploadFile(
            blocksize=128 * 1024,
            maxsize=MAX_SEALED_BYTES + 1,
            workdir=".",
            workersrc="statement.sealed",
            writer=_Any(),
            keepstamp=False,
        )
        for data in writes:
            expected = expected.upload_string(data)
        self.expect_commands(expected.exit(code))

    async def test_a_worker_without_a_statement_fails_the_build(self) -> None:
        await self._collect(code=1)
        self.expect_outcome(result=FAILURE, state_string="expected statement.sealed from the host, got no whole file")
        await self.run_step()

    # Judge

    async def _judge(self, result: int, text: str, **properties: Any) -> None:
        await self._step(Judge(config=str(self.folder / "config"), state=str(self.state)), **properties)
        self.expect_outcome(result=result, state_string=text)
        await self.run_step()

    async def test_a_build_that_could_not_be_pinned_is_not_judged(self) -> None:
        await self._judge(SKIPPED, "nothing to judge: the build could not be pinned", **{BUILD_PROPERTY: None})

    async def test_h1_nobody_was_asked_is_incomplete_never_green(self) -> None:
        make_site(self.folder)
        await self._judge(FAILURE, "INCOMPLETE: expected 2 valid statements before the deadline, got 0")
        verdict = self.record.verdict
        assert (verdict.outcome, verdict.ours) == (Outcome.INCOMPLETE, True)
        assert not self.record.file("seal.key").exists(), "nothing sealed for this build opens any more"

    async def test_settings_that_broke_meanwhile_end_in_a_sentence(self) -> None:
        path = self.folder / "config" / "master.toml"
        await self._judge(
            FAILURE,
            f"the build could not be judged: {path}: expected a settings file, got none; "
            "`silvermetal-master site` writes one",
            **{REQUESTS_PROPERTY: {}},
        )
        assert not self.record.judged
        noted = BuildStore(self.state).newest(REF)
        assert noted is not None
        assert "could not be judged" in noted["failed"], "whoever waits is told"


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def test_h5_a_hostile_worker_cannot_fill_the_masters_memory() -> None:
    writer = BoundedBytes(10)
    writer.remote_write(b"12345")
    writer.remote_write("67890")
    assert writer.data == b"1234567890"
    with pytest.raises(TooLargeError, match="expected at most 10 bytes, got more"):
        writer.remote_write(b"x")
    assert (writer.parts, writer.size > writer.limit) == ([], True)
    for _ in range(3):
        with pytest.raises(TooLargeError):
            writer.remote_write(b"y" * 100)
    assert writer.data == b""


def test_text_that_is_no_utf8_comes_through_whole() -> None:
    writer = BoundedBytes(10)
    writer.remote_write(b"\xff\x00")
    writer.remote_write("\udcff")
    assert writer.data == b"\xff\x00\xff"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"host-b": "x"}, ("host-a", "host-b")),
        ({"host-a": "x"}, ("host-b", "host-a")),
        ({"host-c": "x"}, ("host-a", "host-c")),
        ({"host-a": "x", "host-b": "y"}, ("host-a", "host-b")),
    ],
)
def test_the_odd_one_out_is_compared_with_another_host(others: dict[str, str], expected: tuple[str, str]) -> None:
    hosts = [h.but(iso=hex64(others[h.name])) if h.name in others else h for h in (A, B, C)]
    verdict = decide(case(*hosts))
    assert verdict.outcome is Outcome.DIVERGED
    assert pair(verdict) == expected


def test_two_hosts_that_differ_are_compared_with_one_another() -> None:
    assert pair(decide(case(A, B.but(iso=hex64("x"))))) == ("host-a", "host-b")


def test_one_digest_with_other_chunks_has_a_pair_too() -> None:
    """DIVERGED by contradiction: there is no second digest to look for."""
    verdict = decide(case(A, B.but(chunks=tuple(hex64(i) for i in range(5)))))
    assert verdict.outcome is Outcome.DIVERGED
    assert pair(verdict) == ("host-a", "host-b")


def test_a_tag_that_has_a_verdict_is_never_built_at_another_commit(tmp_path: Path) -> None:
    record = open_build(tmp_path)
    step = Pin(state=str(tmp_path), repository="r", recipe="tiny", workers={}, build_timeout=1)
    step._refuse_moved(REF, "b" * 40)
    step.store.note(REF, {"build": record.id, "ledger": 0})
    step._refuse_moved(REF, COMMIT)
    with pytest.raises(PinningError, match=f"expected {COMMIT}, for which it has a verdict, got {'b' * 40}"):
        step._refuse_moved(REF, "b" * 40)
    step.store.note(REF, {"failed": "a forged event"})
    with pytest.raises(PinningError, match="the tag was moved"):
        step._refuse_moved(REF, "c" * 40)
    step._refuse_moved("refs/tags/other", "c" * 40)
