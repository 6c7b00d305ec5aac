"""decide() by hypothesis: total over hostile bytes, and REPRODUCED never without a quorum that agrees."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from silvermetal_proof import canonical
from silvermetal_proof.statement import sign
from silvermetal_proof.verdict import Outcome, Policy, Submission, Verdict, decide, render
from silvermetal_proof.verdict.records import Case

from tests.unit.proof.makers import OPERATORS, A, B, C, Host, case, hex64, key_of, request

LIGHT = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HOSTS = (A, B, C)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _leaves(inner, (*path, index))
    return found


PAYLOADS = {host.name: canonical.decode(host.payload, limit=1 << 24) for host in HOSTS}
PATHS = {name: _leaves(plain) for name, plain in PAYLOADS.items()}


@st.composite
def mutated(draw: st.DrawFn, host: Host) -> bytes:
    """A statement of ``host``, well signed, in which one value is another one or is gone."""
    plain = canonical.decode(host.payload, limit=1 << 24)
    *parents, last = draw(st.sampled_from(PATHS[host.name]))
    place: Any = plain
    for step in parents:
        place = place[step]
    if draw(st.booleans()):
        place[last] = draw(PLAIN)
    else:
        del place[last]
    try:
        return sign(canonical.encode(plain), host.key)
    except ValueError:
        return sign(b"{}", host.key)


def envelopes(host: Host) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.just(host.envelope),
        st.just(host.but(iso=hex64("other")).envelope),
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda data: sign(data, host.key)),
        PLAIN.map(lambda value: repr(value).encode()),
        mutated(host),
        st.tuples(st.integers(0, len(host.envelope) - 1), st.integers(1, 255)).map(
            lambda change: (
                host.envelope[: change[0]]
                + bytes([host.envelope[change[0]] ^ change[1]])
                + host.envelope[change[0] + 1 :]
            )
        ),
    )


@st.composite
def submissions(draw: st.DrawFn) -> list[Submission]:
    found = []
    for host in draw(st.lists(st.sampled_from(HOSTS), max_size=5)):
        seen = draw(st.sampled_from([host.observation, None, A.observation]))
        kind = draw(st.sampled_from(["answer", "answer", "absent", "broken"]))
        text = draw(st.text(max_size=50))
        if kind == "answer":
            found.append(Submission(host.name, seen, envelope=draw(envelopes(host))))
        elif kind == "absent":
            found.append(Submission(host.name, None, problem=text, ours=draw(st.booleans())))
        else:
            found.append(Submission(host.name, seen, broken=text))
    return found


def _check(asked: Case, verdict: Verdict) -> None:
    assert Verdict.parse(verdict.encode(), limit=1 << 22, what="verdict") == verdict
    assert all(c.isprintable() for c in render(verdict).replace("\n", ""))
    answers = [h for h in verdict.hosts if h.answered]
    valid = [h for h in verdict.hosts if h.valid]
    if verdict.outcome is Outcome.REPRODUCED:
        assert len({h.host for h in valid}) >= asked.policy.quorum >= 2
        assert len({h.iso_sha256 for h in valid}) == 1
        assert answers == valid, "an answer that does not hold is never outvoted"
        assert verdict.level >= asked.policy.min_independence
        sent = {(s.host, s.envelope) for s in asked.submissions}
        honest = {(h.name, h.envelope) for h in HOSTS}
        # The only envelopes that can hold for a host are those that its key signed for this build.
        assert len({h.statement for h in valid}) == len(valid)
        assert sent & honest or all(h.iso_sha256 for h in valid)
    if any(not h.valid for h in answers):
        assert verdict.outcome is Outcome.INVALID
    if len({h.iso_sha256 for h in valid}) > 1:
        assert not verdict.passed
        assert verdict.outcome in (Outcome.INVALID, Outcome.INCOMPLETE, Outcome.INPUT_DRIFT, Outcome.DIVERGED)


@LIGHT
@given(found=submissions(), quorum=st.integers(2, 4), level=st.integers(1, 4))
def test_decide_is_total_and_reproduced_needs_a_quorum(found: list[Submission], quorum: int, level: int) -> None:
    asked = case(*HOSTS, submissions=found, policy=Policy(quorum=quorum, min_independence=level))
    _check(asked, decide(asked))


@LIGHT
@given(data=st.binary(max_size=400), other=st.binary(max_size=400))
def test_any_bytes_as_envelope_and_as_signed_payload_are_invalid(data: bytes, other: bytes) -> None:
    found = [
        Submission("host-a", A.observation, envelope=data),
        Submission("host-b", B.observation, envelope=sign(other, B.key)),
    ]
    assert decide(case(A, B, submissions=found)).outcome is Outcome.INVALID


@LIGHT
@given(change=mutated(B))
def test_one_value_changed_in_a_signed_statement_never_hides(change: bytes) -> None:
    """Whatever stays REPRODUCED after a change says the same about everything that decides."""
    asked = case(A, B, submissions=[A.submission, Submission("host-b", B.observation, envelope=change)])
    verdict = decide(asked)
    _check(asked, verdict)
    if verdict.passed:
        plain = canonical.decode(base64.b64decode(canonical.decode(change, limit=1 << 24)["payload"]), limit=1 << 24)
        same = PAYLOADS["host-b"]
        for part in ("buildDefinition", "silvermetal_nonce", "silvermetal_host", "silvermetal_artefact"):
            assert plain["predicate"][part] == same["predicate"][part]
        assert plain["subject"][0]["digest"] == same["subject"][0]["digest"]


@LIGHT
@given(isos=st.lists(st.sampled_from("xyz"), min_size=2, max_size=6))
def test_every_dissent_of_valid_hosts_is_diverged(isos: list[str]) -> None:
    hosts = [Host(f"h{i}", i, iso=hex64(iso)) for i, iso in enumerate(isos)]
    verdict = decide(case(*hosts))
    assert verdict.passed is (len(set(isos)) == 1)
    if not verdict.passed:
        assert verdict.outcome is Outcome.DIVERGED
        odd = verdict.odd_one_out
        assert odd is None or isos.count(isos[int(odd[1:])]) == 1


def test_a_host_that_nobody_enrolled_signs_for_nothing() -> None:
    stranger = Host("stranger", 7)
    asked = case(A, B, submissions=[A.submission, stranger.submission], request=request((A, B)), operators=OPERATORS)
    assert decide(asked).outcome is Outcome.INVALID
    assert key_of("stranger").public.hex not in {e.public_key for e in asked.hosts}
