"""independence(): each level, each reason that keeps a pair from the next one, and the best subset of many."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_proof.host import Level, Operator, Party, independence, operator_signed
from silvermetal_proof.host.evidence import Engine, application_hash

from tests.unit.proof.makers import OPERATORS, A, B, C, Host, hex64, key_of


def party(host: Host) -> Party:
    return Party(host.entry, host.evidence, host.observation)


def level(*hosts: Host, quorum: int = 2, operators: tuple[Operator, ...] = OPERATORS) -> tuple[Level, str]:
    found = independence([party(h) for h in hosts], quorum, operators)
    return found.level, "; ".join(found.reasons)


def both(**changes: object) -> tuple[Host, Host]:
    return A.but(**changes), B.but(**changes)


ENGINE = Engine(name="docker", version="28.0", id="one")
TABLE = {
    # I0: missing or contradictory evidence, one identity
    "worker": (0, A.but(observation_changes={"worker": "x"}), B, "expected worker worker-host-a, the master saw x"),
    "finished before start": (
        0,
        A.but(evidence_changes={"started": "2026-03-01T12:09:51Z"}),
        B,
        "host-a says it finished (2026-03-01T12:09:50Z) before it started (2026-03-01T12:09:51Z)",
    ),
    "booted after start": (0, A.but(evidence_changes={"boot_time": "2026-03-01T12:00:11Z"}), B, "says it booted"),
    "clock early": (
        0,
        A.but(evidence_changes={"started": "2026-03-01T11:57:59Z"}),
        B,
        "its clock contradicts the master's: expected a build within 2026-03-01T12:00:00Z to",
    ),
    "clock late": (0, A.but(evidence_changes={"finished": "2026-03-01T12:12:01Z"}), B, "its clock contradicts"),
    "one key": (
        0,
        A,
        B.but(entry_changes={"public_key": A.key.public.hex}),
        "host-a and host-b signed with one key",
    ),
    "one machine-id": (0, *both(evidence_changes={"machine_id": hex64(1)}), "one machine-id"),
    "one enrolment": (0, A, A, "host-a and host-a are one enrolment"),
    "one worker": (
        0,
        A,
        B.but(entry_changes={"worker": A.worker}, observation_changes={"worker": A.worker}),
        "host-a and host-b are one enrolment",
    ),
    # I1: distinct identities, perhaps one kernel
    "one boot-id": (1, *both(evidence_changes={"boot_id": hex64(1)}), "host-a and host-b run on one kernel: boot-id"),
    "one engine": (
        1,
        *both(evidence_changes={"engine": ENGINE}),
        "report one container engine id (one…)",
    ),
    "one address": (
        1,
        *both(observation_changes={"peer": "192.0.2.9"}),
        "connect from one address (192.0.2.9): expected two",
    ),
    "no address": (1, A.but(observation_changes={"peer": None}), B, "saw no peer address of one of them"),
    "one after the other": (
        1,
        A,
        B.but(
            observation_changes={"started": "2026-03-01T12:10:01Z", "finished": "2026-03-01T12:20:00Z"},
            evidence_changes={"started": "2026-03-01T12:10:02Z", "finished": "2026-03-01T12:19:00Z"},
        ),
        "did not build at the same time: one machine may have been both",
    ),
    # I2: distinct kernels, hardware not vouched for
    "unsigned entry": (2, A.but(entry_changes={"operator_signature": None}), B, "host-a carries no operator signature"),
    "signature of another": (
        2,
        A.but(entry_changes={"operator_signature": B.entry.operator_signature}),
        B,
        "operator signature of host host-a does not hold (SignatureError)",
    ),
    "signature is no base64": (2, A.but(entry_changes={"operator_signature": "é"}), B, "does not hold"),
    "signature is short": (2, A.but(entry_changes={"operator_signature": "AAAA"}), B, "does not hold"),
    "no hardware": (2, A.but(entry_changes={"dmi": None}), B, "entry of host host-a names no hardware (dmi)"),
    "other hardware": (
        2,
        A.but(evidence_changes={"dmi": hex64(3)}),
        B,
        f"host-a is not the enrolled hardware: expected {hex64('dmi', 'host-a')[:16]}…, got {hex64(3)[:16]}…",
    ),
    "hardware not read": (2, A.but(evidence_changes={"dmi": None}), B, "got none"),
    "one hardware": (
        2,
        *both(evidence_changes={"dmi": hex64(4)}, entry_changes={"dmi": hex64(4)}),
        "report one hardware identity",
    ),
    # I3: distinct machines, one operator or one site
    "one operator": (3, A, B.but(number=3), "vouched for by one operator (alice)"),
    "one site": (3, *both(entry_changes={"site": "here"}), "stand at one site (here)"),
    # I4
    "nothing in common": (4, A, B, ""),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("swapped", [False, True])
def test_each_reason_and_the_level_that_it_leaves(name: str, swapped: bool) -> None:
    expected, a, b, reason = TABLE[name]
    found, reasons = level(b, a) if swapped else level(a, b)
    assert found == expected
    if not swapped:
        assert reason in reasons
    assert bool(reasons) is (expected < 4), "a level below the best has a reason, the best has none"


def test_evidence_within_the_clock_tolerance_is_no_contradiction() -> None:
    near = A.but(evidence_changes={"started": "2026-03-01T11:58:00Z", "finished": "2026-03-01T12:12:00Z"})
    assert level(near, B)[0] == Level.I4


def test_one_instant_in_common_is_overlap() -> None:
    late = B.but(
        observation_changes={"started": "2026-03-01T12:10:00Z", "finished": "2026-03-01T12:20:00Z"},
        evidence_changes={"started": "2026-03-01T12:10:00Z", "finished": "2026-03-01T12:19:00Z"},
    )
    assert level(A, late)[0] == Level.I4


def test_an_engine_that_gives_no_id_lowers_nothing_by_it() -> None:
    nameless = {"engine": Engine(name="podman", version="5", id="")}
    assert level(*both(evidence_changes=nameless))[0] == Level.I4


def test_no_evidence_is_unproven() -> None:
    found = independence([Party(A.entry, None, A.observation), party(B)], 2, OPERATORS)
    assert (found.level, found.reasons) == (Level.I0, ("host-a gave no evidence of its machine",))


def test_an_operator_that_is_not_known_or_known_twice_vouches_for_nothing() -> None:
    assert level(A, B, operators=OPERATORS[1:])[0] == Level.I2
    twice = (*OPERATORS, Operator(operator="alice", public_key=key_of("mallory").public.hex))
    assert level(A, B, operators=twice)[0] == Level.I2
    assert operator_signed(A.entry, OPERATORS) is None


def test_two_operators_with_one_key_are_one() -> None:
    one_key = tuple(o.model_copy(update={"public_key": OPERATORS[0].public_key}) for o in OPERATORS)
    forged = B.but(entry_changes={"operator": "bob"})
    entry = forged.entry.model_copy(update={"operator_signature": None})
    from silvermetal_proof.host import sign_entry

    signed = Party(sign_entry(entry, key_of("operator alice")), B.evidence, B.observation)
    found = independence([party(A), signed], 2, one_key)
    assert (found.level, "one operator" in found.reasons[0]) == (Level.I3, True)


@pytest.mark.parametrize("field", ["site", "dmi", "public_key", "worker", "operator", "valid_from", "valid_until"])
def test_the_operators_signature_covers_every_field_but_the_revocation(field: str) -> None:
    other = {
        "site": "elsewhere",
        "dmi": hex64(9),
        "public_key": B.key.public.hex,
        "worker": "other",
        "operator": "bob",
        "valid_from": "2025-01-01T00:00:00Z",
        "valid_until": "2030-01-01T00:00:00Z",
    }
    assert operator_signed(A.entry.model_copy(update={field: other[field]}), OPERATORS) is not None
    revoked = A.entry.model_copy(update={"revoked": "2026-02-01T00:00:00Z", "revocation_reason": "lost"})
    assert operator_signed(revoked, OPERATORS) is None


def test_the_best_quorum_of_many_counts_and_is_named() -> None:
    cloned = B.but(evidence_changes={"machine_id": A.evidence.machine_id})
    assert level(A, cloned, C)[0] == Level.I4
    found = independence([party(A), party(cloned), party(C)], 2, OPERATORS)
    assert "host-c" in found.hosts
    assert level(A, cloned, C, quorum=3)[0] == Level.I0, "a quorum of three needs every pair"


@pytest.mark.parametrize("hosts", [(), (A,)])
@pytest.mark.parametrize("quorum", [0, 1, 2])
def test_one_host_proves_nothing(hosts: tuple[Host, ...], quorum: int) -> None:
    found = independence([party(h) for h in hosts], quorum, OPERATORS)
    assert (found.level, found.reasons) == (Level.I0, (f"expected at least 2 hosts, got {len(hosts)}",))


TIMES = st.datetimes().map(lambda t: t.strftime("%Y").zfill(4) + t.strftime("-%m-%dT%H:%M:%SZ"))
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "machine_id": st.sampled_from([hex64(1), hex64(2)]),
        "boot_id": st.sampled_from([hex64(1), hex64(2)]),
        "dmi": st.none() | st.just(hex64(1)),
        "boot_time": TIMES,
        "started": TIMES,
        "finished": TIMES,
    },
)


@settings(max_examples=100, deadline=None)
@given(first=CHANGES, second=CHANGES, quorum=st.integers(-1, 4))
def test_any_evidence_gives_a_level_and_more_parties_never_lower_it(first: dict, second: dict, quorum: int) -> None:
    a, b = A.but(evidence_changes=first), B.but(evidence_changes=second)
    pair = independence([party(a), party(b)], quorum, OPERATORS)
    more = independence([party(a), party(b), party(C)], quorum, OPERATORS)
    assert Level.I0 <= pair.level <= more.level <= Level.I4
    assert bool(pair.reasons) is (pair.level < Level.I4)


def test_confidential_identifiers_are_hashed_and_normalised() -> None:
    assert application_hash(" ABC\n") == application_hash("abc")
    assert application_hash("abc") != application_hash("abd")
    assert len(application_hash("")) == 64
