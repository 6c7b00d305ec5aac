"""The verdict as a record, as a signed summary and as text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from silvermetal_proof.errors import MalformedError, SignatureError
from silvermetal_proof.model import Record
from silvermetal_proof.statement import sign
from silvermetal_proof.statement.schema import Dependency, DigestSet
from silvermetal_proof.verdict import (
    Outcome,
    Policy,
    Submission,
    TagSeen,
    Verdict,
    decide,
    render,
    sign_verdict,
    verify_verdict,
)

from tests.unit.proof.makers import COMMIT, A, B, C, Host, case, hex64, key_of

OTHER = hex64("another iso")
INVALID, INCOMPLETE, DRIFT = Outcome.INVALID, Outcome.INCOMPLETE, Outcome.INPUT_DRIFT
DIVERGED, NOT_INDEPENDENT, REPRODUCED = Outcome.DIVERGED, Outcome.NOT_INDEPENDENT, Outcome.REPRODUCED


def absent(host: Host, problem: str = "still building at the deadline", ours: bool = False) -> Submission:
    return Submission(host.name, None, problem=problem, ours=ours)


def package(version: str, name: str = "package bash:amd64") -> tuple[Dependency, ...]:
    commit = Dependency(name="commit", digest=DigestSet(git_commit=COMMIT))
    return (commit, Dependency(name=name, version=version, digest=DigestSet(sha256=hex64(version))))


DRIFTED = B.but(dependencies=package("9"), iso=OTHER)

VERDICTS = {
    REPRODUCED: case(A, B),
    NOT_INDEPENDENT: case(A, B, operators=(), policy=Policy(min_independence=3)),
    DIVERGED: case(A, B, C.but(iso=OTHER)),
    DRIFT: case(A, DRIFTED),
    INCOMPLETE: case(A, B, submissions=[A.submission, absent(B, ours=True)]),
    INVALID: case(A, B.but(size=6)),
}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_goes_round_by_itself_and_signed(outcome: Outcome) -> None:
    key = key_of("master")
    verdict = decide(VERDICTS[outcome])
    assert verdict.outcome is outcome
    assert Verdict.parse(verdict.encode(), limit=1 << 20, what="verdict") == verdict
    envelope = sign_verdict(verdict, key, "urn:silvermetal:master:test")
    assert verify_verdict(envelope, key.public).verdict == verdict
    passed = b'"verificationResult":"PASSED"'
    assert (passed in _payload(envelope)) is (outcome is REPRODUCED)
    assert f"SILVERMETAL_{outcome}".encode() in _payload(envelope)
    with pytest.raises(SignatureError, match="another key"):
        verify_verdict(envelope, A.key.public)


def _payload(envelope: bytes) -> bytes:
    import base64
    import json

    return base64.b64decode(json.loads(envelope)["payload"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"verificationResult":"FAILED"', b'"verificationResult":"PASSED"'),
        (b'"SILVERMETAL_DIVERGED"', b'"SILVERMETAL_REPRODUCED"'),
        (b'"outcome":"DIVERGED"', b'"outcome":"REPRODUCED"'),
        (b'"SILVERMETAL_I0"', b'"SILVERMETAL_I4"'),
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused_though_it_is_signed(old: bytes, new: bytes) -> None:
    key = key_of("master")
    payload = _payload(sign_verdict(decide(VERDICTS[DIVERGED]), key, "urn:silvermetal:master:test"))
    assert old in payload
    with pytest.raises(MalformedError, match="contradicts"):
        verify_verdict(sign(payload.replace(old, new), key), key.public)


def test_a_signed_reproduced_without_one_digest_is_refused() -> None:
    key = key_of("master")
    forged = decide(VERDICTS[DIVERGED]).model_copy(update={"outcome": REPRODUCED})
    with pytest.raises(MalformedError, match="without one agreed digest"):
        verify_verdict(sign_verdict(forged, key, "urn:silvermetal:master:test"), key.public)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_text_names_outcome_hosts_and_reasons_on_lines_of_their_own(outcome: Outcome) -> None:
    verdict = decide(VERDICTS[outcome])
    lines = render(verdict).splitlines()
    assert lines[0] == f"{outcome}: {verdict.summary}"
    assert all(any(line.startswith(f"  {h.host}") for line in lines) for h in verdict.hosts)
    assert [line for line in lines if line.startswith("  - ")] == [f"  - {r}" for r in verdict.reasons]


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "\u202egnp", "\x9b31m"])
def test_no_text_of_a_host_reaches_the_verdict_with_control_characters(text: str) -> None:
    verdict = decide(
        case(
            A,
            B,
            C,
            submissions=[
                A.but(build_info={"X": text}).submission if text.isascii() else B.submission,
                absent(A, problem=text),
                absent(B, problem=text),
                absent(C, problem=text),
            ],
        )
    )
    shown = render(verdict).replace("\n", "")
    assert all(c.isprintable() for c in shown), shown


def test_a_problem_of_any_length_ends_in_a_verdict() -> None:
    verdict = decide(case(A, B, submissions=[A.submission, absent(B, problem="x" * 100_000)]))
    assert verdict.outcome is INCOMPLETE


def test_records_are_frozen() -> None:
    verdict = decide(case(A, B))
    assert isinstance(verdict, Record)
    with pytest.raises(ValueError, match="frozen"):
        verdict.outcome = DIVERGED  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        (TagSeen(object="d" * 40, annotated=False), "a lightweight tag, not signed"),
        (TagSeen(object="d" * 40, annotated=True), "an annotated tag without a signature that was checked"),
        (
            TagSeen(object="d" * 40, annotated=True, signature="openpgp", signer="Alice <a@example.org>", key="AB12"),
            "signed by Alice <a@example.org> (openpgp key AB12)",
        ),
    ],
)
def test_the_signed_verdict_says_who_signed_the_tag(tag: TagSeen, told: str) -> None:
    asked = case(A, B)
    verdict = decide(replace(asked, request=asked.request.model_copy(update={"tag": tag})))
    key = key_of("master")
    again = verify_verdict(sign_verdict(verdict, key, "urn:silvermetal:master:test"), key.public).verdict
    assert again.tag == tag
    assert f"  tag object {'d' * 40}, {told}\n" in render(again)
    assert "tag object" not in render(decide(asked)), "what is not a tag has none"
