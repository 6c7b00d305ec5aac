"""decide() as tables: every outcome, its texts, and the order in which outcomes are tried."""

from __future__ import annotations

from itertools import permutations

import pytest
from silvermetal_proof.host.independence import Level
from silvermetal_proof.statement.schema import Dependency, DigestSet
from silvermetal_proof.verdict import Outcome, Policy, Submission, decide, sign_verdict, verify_verdict
from silvermetal_proof.verdict.vsa import MAX_VERDICT_BYTES

from tests.unit.proof.makers import BUILD, COMMIT, ISO, PINS, SIZE, A, B, C, Host, case, hex64, key_of, request

OTHER = hex64("another iso")
INVALID, INCOMPLETE, DRIFT = Outcome.INVALID, Outcome.INCOMPLETE, Outcome.INPUT_DRIFT
DIVERGED, NOT_INDEPENDENT, REPRODUCED = Outcome.DIVERGED, Outcome.NOT_INDEPENDENT, Outcome.REPRODUCED


def absent(host: Host, problem: str = "still building at the deadline", ours: bool = False) -> Submission:
    return Submission(host.name, None, problem=problem, ours=ours)


def package(version: str, name: str = "package bash:amd64") -> tuple[Dependency, ...]:
    commit = Dependency(name="commit", digest=DigestSet(git_commit=COMMIT))
    return (commit, Dependency(name=name, version=version, digest=DigestSet(sha256=hex64(version))))


def test_two_hosts_that_agree_are_reproduced() -> None:
    verdict = decide(case(A, B))
    assert verdict.outcome is REPRODUCED
    assert verdict.passed
    assert verdict.level == Level.I4
    assert verdict.iso_sha256 == ISO
    assert "host-a, host-b built the same bytes; independence I4 (distinct operators)" in verdict.summary
    assert verdict.reasons == ()


def test_a_verdict_below_the_best_level_says_what_is_missing() -> None:
    verdict = decide(case(A, B, operators=()))
    assert (verdict.outcome, verdict.level) == (REPRODUCED, Level.I2)
    assert verdict.reasons[0].startswith("not I3: operator alice of host host-a is not known")


# What one host says, and the problem that the verdict names: got and expected.
INVALID_ANSWERS = {
    "build": (A.but(says={"build": "f" * 32}), f"build: expected {BUILD}, got {'f' * 32}"),
    "nonce of the sibling": (A.but(says={"nonce": B.nonce}), f"nonce: expected {A.nonce}, got {B.nonce}"),
    "host": (A.but(says={"host": "host-b"}), "host: expected host-a, got host-b"),
    "worker": (A.but(says={"worker": "worker-host-b"}), "worker: expected worker-host-a, got worker-host-b"),
    "repository": (A.but(says={"repository": "https://elsewhere.example/x"}), "repository: expected https://git.exa"),
    "ref": (A.but(says={"ref": "refs/tags/v2"}), "ref: expected refs/tags/v1, got refs/tags/v2"),
    "commit": (A.but(says={"commit": "d" * 40}), f"commit: expected {COMMIT}, got {'d' * 40}"),
    "recipe": (A.but(says={"recipe": "other"}), "recipe: expected minimal-live, got other"),
    "pins": (A.but(says={"pins": f"sha256:{'0' * 64}"}), f"pins: expected {PINS}, got sha256:{'0' * 64}"),
    "key of the sibling": (A.but(signer=B.key), "signed by another key: expected"),
    "unknown key": (A.but(signer=key_of("nobody")), "signed by another key: expected"),
    "empty": (A.but(size=0), "below the size floor: expected at least 16777216 bytes, got 0 bytes"),
    "six bytes": (A.but(size=6), "below the size floor: expected at least 16777216 bytes, got 6 bytes"),
    "one byte below the floor": (A.but(size=16 * 2**20 - 1), "got 16777215 bytes"),
    "no image": (A.but(iso9660=False), "no ISO9660 image: expected CD001 at byte 32769"),
    "not bootable": (A.but(bootable=False), "not bootable: expected an El Torito boot catalogue, got none"),
    "chunks": (A.but(chunks=(hex64(1),)), "chunk digests do not fit the size: expected 5, got 1"),
    "input twice": (A.but(dependencies=package("1") + package("2")[1:]), "names an input twice"),
    "other worker connected": (
        A.but(observation_changes={"worker": "worker-host-b"}),
        "answered through another worker: expected worker-host-a, got worker-host-b",
    ),
    "revoked": (A.but(entry_changes={"revoked": "2026-02-01T00:00:00Z"}), "got revoked 2026-02-01T00:00:00Z"),
    "expired": (A.but(entry_changes={"valid_until": "2026-03-01T12:30:00Z"}), "has expired: expected valid until"),
    "too early": (A.but(entry_changes={"valid_from": "2026-03-01T12:30:01Z"}), "is not valid yet: expected valid"),
}


@pytest.mark.parametrize("name", INVALID_ANSWERS)
def test_an_answer_that_does_not_hold_is_invalid(name: str) -> None:
    bad, problem = INVALID_ANSWERS[name]
    # Three hosts, of which two are good: a majority does not outvote an answer that does not hold.
    verdict = decide(case(bad, B, C))
    assert verdict.outcome is INVALID
    assert verdict.summary == "the answer of host-a does not hold"
    assert problem in (verdict.hosts[0].problem or "")
    assert verdict.reasons == (f"host-a: {verdict.hosts[0].problem}",)
    assert [h.valid for h in verdict.hosts] == [False, True, True]
    assert verdict.hosts[0].iso_sha256 is None, "nothing of an invalid statement may look like a result"


def test_small_images_are_invalid_even_when_all_agree() -> None:
    assert decide(case(A.but(size=6), B.but(size=6))).outcome is INVALID
    assert decide(case(A.but(bootable=False), B.but(bootable=False))).outcome is INVALID


def test_the_size_floor_itself_is_enough() -> None:
    floor = Policy(quorum=2, min_independence=1, size_floor=SIZE)
    assert decide(case(A, B, policy=floor)).outcome is REPRODUCED
    assert decide(case(A, B, policy=floor.model_copy(update={"size_floor": SIZE + 1}))).outcome is INVALID


def _no_digest(plain: dict) -> None:
    del plain["subject"][0]["digest"]["sha256"]


def _two_intervals(plain: dict) -> None:
    plain["predicate"]["runDetails"]["metadata"]["startedOn"] = "2026-03-01T12:00:11Z"


def _unknown_key(plain: dict) -> None:
    plain["predicate"]["verified"] = True


def _number_for_text(plain: dict) -> None:
    plain["predicate"]["silvermetal_host"] = 7


def _two_subjects(plain: dict) -> None:
    plain["subject"] *= 2


def _path_for_name(plain: dict) -> None:
    plain["subject"][0]["name"] = "../../etc/passwd.iso"


def _other_type(plain: dict) -> None:
    plain["predicateType"] = "https://slsa.dev/verification_summary/v1"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_no_digest, "names no ISO digest: expected subject.digest.sha256"),
        (_two_intervals, "gives two build intervals"),
        (_unknown_key, "predicate.verified: expected Extra inputs are not permitted"),
        (_number_for_text, "predicate.silvermetal_host: expected Input should be a valid string, got 7"),
        (_two_subjects, "subject: expected Tuple should have at most 1 item"),
        (_path_for_name, "subject.0.name: expected String should match pattern"),
        (_other_type, "predicateType: expected Input should be 'https://slsa.dev/provenance/v1'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_signed_statement_of_another_form_is_invalid(change: object, problem: str) -> None:
    verdict = decide(case(A, B, submissions=[A.with_payload(change), B.submission]))
    assert verdict.outcome is INVALID
    assert problem in (verdict.hosts[0].problem or "")


def test_an_unenrolled_or_unasked_host_is_invalid() -> None:
    assert "is not enrolled: expected an entry in config/hosts/" in str(
        decide(case(A, B, C, entries=(A.entry, B.entry))).hosts[2].problem
    )
    verdict = decide(case(A, B, C, request=request((A, B))))
    assert verdict.outcome is INVALID
    assert "host-c was not asked: expected one of host-a, host-b, got host-c" in (verdict.hosts[2].problem or "")


def test_a_statement_without_an_observation_is_invalid() -> None:
    unseen = Submission("host-a", None, envelope=A.envelope)
    verdict = decide(case(A, B, submissions=[unseen, B.submission]))
    assert verdict.outcome is INVALID
    assert "the master did not observe this build" in verdict.reasons[0]


def test_one_envelope_under_two_hosts_is_invalid() -> None:
    copied = Submission("host-b", B.observation, envelope=A.envelope)
    verdict = decide(case(A, B, submissions=[A.submission, copied]))
    assert (verdict.outcome, [h.valid for h in verdict.hosts]) == (INVALID, [True, False])


def test_one_key_under_two_hosts_is_no_independence() -> None:
    twin = B.but(entry_changes={"public_key": A.key.public.hex}, signer=A.key)
    verdict = decide(case(A, twin, policy=Policy(quorum=2, min_independence=1)))
    assert (verdict.outcome, verdict.level) == (NOT_INDEPENDENT, 0)
    assert "signed with one key" in " ".join(verdict.reasons)


# Twice-answered: the same answer counts once, another one is INVALID, in whatever order they come.
BROKEN = Submission("host-a", A.observation, broken="sealed statement does not open")
SILENT = absent(A)
UNEQUAL = A.but(iso=OTHER).submission


@pytest.mark.parametrize("answers", list(permutations([A.submission, SILENT, A.submission])))
def test_an_answer_counts_once_and_beats_silence(answers: tuple[Submission, ...]) -> None:
    verdict = decide(case(A, B, submissions=[*answers, B.submission]))
    assert (verdict.outcome, len(verdict.hosts)) == (REPRODUCED, 2)


@pytest.mark.parametrize("answers", list(permutations([A.submission, UNEQUAL, SILENT])))
def test_two_answers_that_differ_are_invalid(answers: tuple[Submission, ...]) -> None:
    verdict = decide(case(A, B, C, submissions=[*answers, B.submission, C.submission]))
    assert verdict.outcome is INVALID
    assert verdict.reasons == ("host-a: expected one answer, got two that differ",)


@pytest.mark.parametrize("answers", list(permutations([A.submission, BROKEN])))
def test_a_broken_answer_beside_a_good_one_is_invalid(answers: tuple[Submission, ...]) -> None:
    assert decide(case(A, B, submissions=[*answers, B.submission])).outcome is INVALID


def test_one_host_twice_is_no_quorum() -> None:
    verdict = decide(case(A, B, submissions=[A.submission, A.submission]))
    assert (verdict.outcome, verdict.summary) == (
        INCOMPLETE,
        "expected 2 valid statements before the deadline, got 1",
    )


@pytest.mark.parametrize(
    ("missing", "ours"),
    [
        ([absent(B, ours=True)], True),
        ([absent(B)], False),
        ([absent(B, ours=True), absent(C)], False),
        ([absent(B, ours=True), absent(C, ours=True)], True),
    ],
)
def test_incomplete_is_ours_only_when_every_absence_is(missing: list[Submission], ours: bool) -> None:
    verdict = decide(case(A, B, C, submissions=[A.submission, *missing]))
    assert (verdict.outcome, verdict.ours) == (INCOMPLETE, ours)
    assert verdict.reasons == tuple(f"{s.host}: still building at the deadline" for s in missing)


@pytest.mark.parametrize("ours", [True, False])
def test_a_missing_answer_without_a_reason_says_so(ours: bool) -> None:
    verdict = decide(case(A, B, submissions=[A.submission, Submission("host-b", None, ours=ours)]))
    assert verdict.reasons == ("host-b: no statement: expected one before the deadline, got none",)


def test_nobody_answered() -> None:
    verdict = decide(case(A, B, submissions=[]))
    assert (verdict.outcome, verdict.hosts, verdict.ours) == (INCOMPLETE, (), False)


def test_two_of_three_are_enough_for_a_quorum_of_two() -> None:
    assert decide(case(A, B, C, submissions=[A.submission, B.submission, absent(C)])).outcome is REPRODUCED
    three = Policy(quorum=3)
    verdict = decide(case(A, B, C, submissions=[A.submission, B.submission, absent(C)], policy=three))
    assert verdict.outcome is INCOMPLETE


def test_drift_names_each_input_and_each_hosts_value() -> None:
    one = A.but(dependencies=package("5.2-1"), iso=OTHER, build_info={"TZ": "UTC"})
    two = B.but(dependencies=package("5.2-2"), build_info={"TZ": "CET"})
    verdict = decide(case(one, two))
    assert verdict.outcome is DRIFT
    assert verdict.summary == "the hosts built from different inputs: BUILD_INFO TZ, package bash:amd64"
    assert verdict.drift[0].values == {"host-a": "UTC", "host-b": "CET"}
    assert verdict.drift[1].values["host-a"].startswith("5.2-1 sha256:")
    assert "package bash:amd64: host-a has 5.2-1" in verdict.reasons[1]


def test_an_input_that_only_one_host_used_is_drift() -> None:
    verdict = decide(case(A.but(dependencies=package("5.2-1")), B))
    assert verdict.outcome is DRIFT
    assert verdict.drift[0].values["host-b"] == "(absent)"


def test_inputs_that_the_pins_fix_are_compared_with_the_pins() -> None:
    wanted = request((A, B), expected_inputs={"commit": COMMIT, "package lock": f"sha256:{'1' * 64}"})
    verdict = decide(case(A, B, request=wanted))
    assert verdict.outcome is DRIFT, "both hosts agree with one another, but not with what was asked"
    assert verdict.drift[0].expected == f"sha256:{'1' * 64}"
    assert f"package lock: expected sha256:{'1' * 64}; host-a has (absent)" in verdict.reasons[0]


def test_more_than_three_drifted_inputs_are_counted() -> None:
    info = {f"KEY{i}": "x" for i in range(5)}
    verdict = decide(case(A.but(build_info=info), B.but(build_info={})))
    assert verdict.summary.endswith("BUILD_INFO KEY0, BUILD_INFO KEY1, BUILD_INFO KEY2 and 2 more")
    assert len(verdict.drift) == 5


def test_two_hosts_that_differ_are_diverged() -> None:
    other = B.but(iso=OTHER, chunks=tuple(hex64("chunk", i if i != 3 else "x") for i in range(5)))
    verdict = decide(case(A, other))
    assert (verdict.outcome, verdict.odd_one_out, verdict.level) == (DIVERGED, None, 0)
    assert verdict.summary == "same inputs, different bytes: 2 different ISOs from 2 hosts"
    assert f"host-a: sha256:{ISO}, {SIZE} bytes" in verdict.reasons
    assert "1 of 5 chunks differ, the first at 12 MiB" in verdict.reasons
    assert verdict.iso_sha256 is None


@pytest.mark.parametrize("odd", ["host-a", "host-b", "host-c"])
def test_a_majority_never_makes_a_pass_and_the_odd_one_out_is_named(odd: str) -> None:
    hosts = [h.but(iso=OTHER) if h.name == odd else h for h in (A, B, C)]
    verdict = decide(case(*hosts))
    assert (verdict.outcome, verdict.odd_one_out) == (DIVERGED, odd)
    assert f"{odd} is the odd one out: 2 other hosts agree with one another" in verdict.reasons


def test_three_different_images_have_no_odd_one_out() -> None:
    verdict = decide(case(A, B.but(iso=OTHER), C.but(iso=hex64("third"))))
    assert (verdict.outcome, verdict.odd_one_out) == (DIVERGED, None)


def test_one_digest_with_two_sizes_or_other_chunks_is_no_agreement() -> None:
    verdict = decide(case(A, B.but(size=SIZE - 1)))
    assert verdict.outcome is DIVERGED
    assert "1 different ISOs" not in verdict.summary
    other_chunks = B.but(chunks=tuple(hex64("other", i) for i in range(5)))
    assert decide(case(A, other_chunks)).outcome is DIVERGED


def test_same_bytes_below_the_level_are_not_independent() -> None:
    shared = {"boot_id": hex64("one kernel")}
    verdict = decide(case(A.but(evidence_changes=shared), B.but(evidence_changes=shared)))
    assert (verdict.outcome, verdict.level) == (NOT_INDEPENDENT, 1)
    assert "proven to I1 (distinct identities) only; policy asks for I2 (distinct kernels)" in verdict.summary
    assert "run on one kernel" in verdict.reasons[0]


# Each outcome before all that stand below it: a case with two faults has the first one's outcome.
DRIFTED = B.but(dependencies=package("9"), iso=OTHER)
ONE_KERNEL = {"boot_id": hex64("one kernel")}


@pytest.mark.parametrize(
    ("submissions", "outcome"),
    [
        ([A.but(size=6).submission, absent(B), absent(C)], INVALID),
        ([A.but(size=6).submission, DRIFTED.submission, C.submission], INVALID),
        ([DRIFTED.submission, absent(A), absent(C)], INCOMPLETE),
        ([A.submission, DRIFTED.submission, C.submission], DRIFT),
        ([A.submission, A.but(name="host-b", number=1, iso=OTHER).submission, absent(C)], DIVERGED),
        (
            [
                A.but(evidence_changes=ONE_KERNEL).submission,
                B.but(evidence_changes=ONE_KERNEL, iso=OTHER).submission,
                absent(C),
            ],
            DIVERGED,
        ),
    ],
)
def test_the_first_outcome_that_holds_wins(submissions: list[Submission], outcome: Outcome) -> None:
    assert decide(case(A, B, C, submissions=submissions)).outcome is outcome


def test_drift_of_sixteen_talkative_hosts_can_still_be_signed_and_read() -> None:
    """A hostile host must not be able to make a verdict too large to be recorded (issue 3: the ledger has it)."""
    hosts = [Host(f"h{i}", i) for i in range(16)]
    talkative = [
        h.but(
            dependencies=tuple(
                Dependency(name=f"{n} " + "\U0001f4be" * 400, version=f"{h.name} " + "\U0001f4be" * 400)
                for n in range(220)
            )
        )
        for h in hosts
    ]
    verdict = decide(case(*talkative))
    assert verdict.outcome is DRIFT
    key = key_of("master")
    assert len(verdict.encode()) < MAX_VERDICT_BYTES
    assert verify_verdict(sign_verdict(verdict, key, "urn:silvermetal:master:t"), key.public).verdict == verdict


def test_many_inputs_with_one_named_twice_are_refused_at_once() -> None:
    names = tuple(Dependency(name=f"package p{i}") for i in range(19999))
    twice = A.but(dependencies=(*names, names[-1]))
    assert "names an input twice" in decide(case(twice, B)).reasons[0]
