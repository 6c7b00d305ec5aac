"""Attacks with statements, against the pure core: what a host that holds a key, or a thief without one, can send.

Rules:

- Both hosts are honest but for the one thing that the test's name says; the honest case is REPRODUCED at I4.
- An attack is refused with got and expected, and the refusal can be signed and entered into a ledger.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from silvermetal_proof import canonical
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import SigningKey, Statement, sign
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict import Outcome, Policy, Submission, Verdict, decide, render, sign_verdict, verify_verdict
from silvermetal_proof.verdict.again import contradiction

from tests.unit.proof.makers import BUILD, A, B, C, Host, case, hex64, key_of, request

MASTER = key_of("master")
HONEST = decide(case(A, B))


def refused(tmp_path: Path, verdict: Verdict, outcome: Outcome, *words: str) -> None:
    """The verdict is a refusal that says why, and goes into a ledger as one."""
    told = "\n".join((verdict.summary, *verdict.reasons))
    assert verdict.outcome is outcome, told
    assert [word for word in words if word not in told] == [], told
    ledger = Ledger(tmp_path / "ledger", "attacks/ledger", MASTER.public)
    index = ledger.append(sign_verdict(verdict, MASTER, "urn:silvermetal:master:test"), MASTER)
    ledger.check()
    entry = verify_verdict(ledger.entry(index), MASTER.public).verdict
    assert entry == verdict
    assert not entry.passed


def sent(envelope: bytes, host: Host = B) -> Verdict:
    """The verdict when ``host`` sends these bytes and the other is honest."""
    other = A if host is not A else B
    return decide(case(A, B, submissions=(other.submission, Submission(host.name, host.observation, envelope))))


def test_baseline_honest_hosts_are_believed() -> None:
    assert HONEST.outcome is Outcome.REPRODUCED
    assert HONEST.level == 4


def _edit(change: Callable[[dict[str, Any]], object]) -> bytes:
    envelope = json.loads(B.envelope)
    change(envelope)
    return canonical.encode(envelope)


def _signature(change: Callable[[bytes], bytes]) -> bytes:
    """B's envelope with another signature."""

    def edit(envelope: dict[str, Any]) -> None:
        raw = base64.b64decode(envelope["signatures"][0]["sig"])
        envelope["signatures"][0]["sig"] = base64.b64encode(change(raw)).decode()

    return _edit(edit)


ORDER_OF_GROUP = 2**252 + 27742317777372353535851937790883648493


def _malleable(raw: bytes) -> bytes:
    """The same R with S + L: equal modulo the group's order, so a lax verifier takes it (RFC 8032 section 5.1.7)."""
    return raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER_OF_GROUP).to_bytes(32, "little")


SIGNATURES = {
    "forged": (_signature(lambda raw: bytes(64)), "signature does not hold: expected key"),
    "of_another_payload": (
        _signature(lambda raw: base64.b64decode(json.loads(A.envelope)["signatures"][0]["sig"])),
        "signature does not hold",
    ),
    "truncated": (_signature(lambda raw: raw[:63]), "expected 64 bytes, got 63 bytes"),
    "lengthened": (_signature(lambda raw: raw + b"\0"), "expected 64 bytes, got 65 bytes"),
    "malleable": (_signature(_malleable), "signature does not hold"),
    "in_hexadecimal": (
        _edit(lambda e: e["signatures"][0].update(sig=base64.b64decode(e["signatures"][0]["sig"]).hex())),
        "signature has another length: expected 64 bytes",
    ),
    "none": (_edit(lambda e: e.update(signatures=[])), "signatures"),
    "two_of_which_one_holds": (
        _edit(lambda e: e["signatures"].insert(0, {"keyid": A.key.public.keyid, "sig": "AAAA"})),
        "signatures",
    ),
    "key_id_of_the_sibling": (
        _edit(lambda e: e["signatures"][0].update(keyid=A.key.public.keyid)),
        f"signed by another key: expected {B.key.public.keyid}",
    ),
    "by_a_stranger": (sign(B.payload, SigningKey.generate()), "signed by another key: expected"),
    "by_the_sibling": (sign(B.payload, A.key), f"signed by another key: expected {B.key.public.keyid}"),
    "by_the_master": (sign(B.payload, MASTER), "signed by another key"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str, tmp_path: Path) -> None:
    envelope, said = SIGNATURES[name]
    refused(tmp_path, sent(envelope), Outcome.INVALID, "host-b", said)


ENVELOPES = {
    "truncated": (B.envelope[:-1], "not JSON"),
    "cut_in_the_middle": (B.envelope[: len(B.envelope) // 2], "not JSON"),
    "empty": (b"", "not JSON"),
    "re_encoded_with_spaces": (json.dumps(json.loads(B.envelope)).encode(), "re-encoded: expected the canonical bytes"),
    "re_encoded_in_another_order": (
        json.dumps(dict(reversed(json.loads(B.envelope).items())), separators=(",", ":")).encode(),
        "re-encoded",
    ),
    "base64_without_padding": (
        _edit(lambda e: e["signatures"][0].update(sig=e["signatures"][0]["sig"].rstrip("="))),
        "base64",
    ),
    "base64_of_the_url_alphabet": (_edit(lambda e: e.update(payload=e["payload"].replace("I", "-"))), "base64"),
    "base64_with_a_line_break": (
        _edit(lambda e: e.update(payload=e["payload"][:76] + "\n" + e["payload"][76:])),
        "base64",
    ),
    "base64_with_spare_bits": (
        _edit(lambda e: e["signatures"][0].update(sig=e["signatures"][0]["sig"][:-3] + "B==")),
        "base64 in another form",
    ),
    "of_a_verdict": (sign_verdict(HONEST, B.key, "urn:silvermetal:master:me"), "predicateType"),
    "of_another_payload_type": (sign(B.payload, B.key, "application/json"), "another payload type"),
    "payload_type_swapped_after_signing": (
        _edit(lambda e: e.update(payloadType="application/vnd.in-toto+json;v=1")),
        "another payload type: expected application/vnd.in-toto+json",
    ),
    "with_a_key_more": (_edit(lambda e: e.update(critical=False)), "critical"),
    "key_twice": (B.envelope[:-1] + b',"payload":"AAAA"}', "same key twice"),
    "nested_deeply": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply: expected at most 32 levels"),
    "huge": (b" " * (6 * 1024 * 1024 + 1), "too large: expected at most"),
    "not_utf_8": (B.envelope.replace(b"payload", b"pay\xffoad", 1), "not UTF-8"),
    "utf_16": (B.envelope.decode().encode("utf-16"), "not UTF-8"),
    "null_byte": (B.envelope + b"\0", "not JSON"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_envelope(name: str, tmp_path: Path) -> None:
    envelope, said = ENVELOPES[name]
    refused(tmp_path, sent(envelope), Outcome.INVALID, "host-b", said)


PAYLOADS = {
    "huge": (b'{"_type":"' + b"A" * (4 * 1024 * 1024) + b'"}', "too large: expected at most"),
    "nested_deeply": (b'{"a":' * 2000 + b"1" + b"}" * 2000, "nested too deeply"),
    "not_utf_8": (b'{"_type":"\xff\xfe"}', "not UTF-8"),
    "key_twice": (B.payload.replace(b'{"_type"', b'{"_type":"x","_type"', 1), "same key twice"),
    "nonce_twice": (
        B.payload.replace(b'"silvermetal_nonce"', b'"silvermetal_nonce":"' + b"0" * 64 + b'","silvermetal_nonce"', 1),
        "same key twice",
    ),
    "a_number_too_long": (B.payload.replace(b'"size":', b'"size":1' + b"0" * 5000, 1), "integer is too long"),
    "infinite": (B.payload.replace(b'"size":', b'"size":1e999,"x":', 1), "statement"),
    "not_a_number": (B.payload.replace(b'"size":', b'"size":NaN,"x":', 1), "not finite"),
    "lone_surrogate": (B.payload.replace(b'"a processor"', b'"\\ud800"', 1), "half a character"),
    "a_list": (b"[]", "expected Input should be an object"),
    "nothing": (b"", "not JSON"),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_well_signed_payload(name: str, tmp_path: Path) -> None:
    payload, said = PAYLOADS[name]
    refused(tmp_path, sent(sign(payload, B.key)), Outcome.INVALID, "host-b", said)


NAMES = ("../../etc/passwd", "/etc/passwd", "..", ".hidden", "a/b.iso", "a\\b.iso", "a\x00.iso", "a\n.iso", "é.iso", "")


@pytest.mark.parametrize("name", NAMES)
def test_path_traversal_in_the_name_of_the_iso(name: str, tmp_path: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        statement["subject"][0]["name"] = name

    verdict = decide(case(A, B, submissions=(A.submission, B.with_payload(change))))
    refused(tmp_path, verdict, Outcome.INVALID, "subject.0.name")


@pytest.mark.parametrize("name", ["../host-a", "/root", "host-b/../host-a", "HOST-B", "host-b\n"])
def test_path_traversal_in_the_name_of_the_host(name: str, tmp_path: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["silvermetal_host"] = name

    verdict = decide(case(A, B, submissions=(A.submission, B.with_payload(change))))
    refused(tmp_path, verdict, Outcome.INVALID, "silvermetal_host")


REPLAYS = {
    "an_older_build": {"build": "f" * 32},
    "another_commit": {"commit": "dead" * 10},
    "another_recipe": {"recipe": "silvermetal-base"},
    "another_tag": {"ref": "refs/tags/v0"},
    "a_branch_of_the_tags_name": {"ref": "refs/heads/v1"},
    "another_repository": {"repository": "https://git.example.org/fork.git"},
    "other_pins": {"pins": f"sha256:{hex64('other pins')}"},
    "the_siblings_nonce": {"nonce": A.nonce},
    "the_siblings_host": {"host": A.name},
    "the_siblings_worker": {"worker": A.worker},
}


@pytest.mark.parametrize("name", REPLAYS)
def test_replayed_statement_of(name: str, tmp_path: Path) -> None:
    says = REPLAYS[name]
    field = next(iter(says))
    replayed = B.but(says=says)
    refused(tmp_path, decide(case(A, replayed)), Outcome.INVALID, f"{field}: expected", f"got {says[field]}"[:150])


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "revoked": ({"revoked": "2026-03-01T12:29:59Z"}, "revoked: expected a key that is not revoked, got revoked"),
    "revoked_this_second": ({"revoked": "2026-03-01T12:30:00Z"}, "revoked"),
    "expired": ({"valid_until": "2026-03-01T12:00:00Z"}, "has expired: expected valid until"),
    "not_valid_yet": ({"valid_from": "2026-04-01T00:00:00Z"}, "not valid yet: expected valid from"),
}


@pytest.mark.parametrize("name", KEYS)
def test_key_that_does_not_count(name: str, tmp_path: Path) -> None:
    changes, said = KEYS[name]
    refused(tmp_path, decide(case(A, B.but(entry_changes=changes))), Outcome.INVALID, said)


def test_key_that_nobody_enrolled(tmp_path: Path) -> None:
    verdict = decide(case(A, B, entries=(A.entry,)))
    refused(tmp_path, verdict, Outcome.INVALID, "host-b is not enrolled: expected an entry")


def test_one_key_under_two_names(tmp_path: Path) -> None:
    twin = B.but(signer=A.key, entry_changes={"public_key": A.key.public.hex})
    refused(tmp_path, decide(case(A, twin)), Outcome.NOT_INDEPENDENT, "signed with one key", "expected a key each")


def test_statements_swapped_between_the_workers(tmp_path: Path) -> None:
    swapped = (Submission(A.name, A.observation, B.envelope), Submission(B.name, B.observation, A.envelope))
    refused(tmp_path, decide(case(A, B, submissions=swapped)), Outcome.INVALID, "host-a", "host-b", "another key")


def test_answer_through_the_siblings_worker(tmp_path: Path) -> None:
    verdict = decide(case(A, B.but(observation_changes={"worker": A.worker})))
    refused(tmp_path, verdict, Outcome.INVALID, "answered through another worker: expected worker-host-b")


def test_statement_sent_twice_is_one_host(tmp_path: Path) -> None:
    verdict = decide(case(A, B, submissions=(A.submission, A.submission)))
    refused(tmp_path, verdict, Outcome.INCOMPLETE, "expected 2 valid statements", "got 1")


def test_second_answer_of_another_wording(tmp_path: Path) -> None:
    other = B.but(iso=hex64("other"))
    verdict = decide(case(A, B, submissions=(A.submission, B.submission, other.submission)))
    refused(tmp_path, verdict, Outcome.INVALID, "expected one answer, got two that differ")


def test_host_that_was_not_asked(tmp_path: Path) -> None:
    honest = case(A, B)
    asked = case(A, B, C, request=honest.request, submissions=(A.submission, C.submission))
    refused(tmp_path, decide(asked), Outcome.INVALID, "host-c was not asked")


def test_copied_hash_with_chunks_that_were_made_up(tmp_path: Path) -> None:
    copied = B.but(chunks=tuple(hex64("made up", i) for i in range(5)))
    refused(tmp_path, decide(case(A, copied)), Outcome.DIVERGED, "one of them did not hash its ISO")


def test_majority_of_accomplices_outvotes_nobody(tmp_path: Path) -> None:
    honest = C.but(iso=hex64("the honest one"))
    refused(tmp_path, decide(case(A, B, honest)), Outcome.DIVERGED, "host-c is the odd one out")


def test_input_that_only_the_pins_know_is_drift_though_both_hosts_lie_alike(tmp_path: Path) -> None:
    both = [h.but(build_info={"RECIPE": "minimal-live", "COMMIT": "dead" * 10}) for h in (A, B)]
    asked = case(*both)
    request = asked.request.model_copy(update={"expected_inputs": {"BUILD_INFO COMMIT": asked.request.commit}})
    refused(tmp_path, decide(case(*both, request=request)), Outcome.INPUT_DRIFT, "expected c0ffee00", "host-a has dead")


def test_evidence_of_an_attribution_is_taken_for_no_verdict(tmp_path: Path) -> None:
    """Signed by the right key, with the right nonce, over the very bytes of the sibling: and still not for this."""
    marked = B.but(attribution=BUILD)
    refused(tmp_path, decide(case(A, marked)), Outcome.INVALID, "attribution: expected none", f"got {BUILD}")


def test_two_builds_that_explain_a_divergence_agree_to_nothing(tmp_path: Path) -> None:
    """The other way round: a request for an attribution with answers that fit it is never decided to a pass."""
    both = [h.but(attribution=BUILD) for h in (A, B)]
    asked = request(both, attribution=BUILD)
    refused(tmp_path, decide(case(*both, request=asked)), Outcome.INVALID, "made to explain build")


def test_variation_that_nobody_asked_for(tmp_path: Path) -> None:
    varied = B.but(variation=Variation(umask="0077"))
    refused(tmp_path, decide(case(A, varied)), Outcome.INVALID, "variation: expected none, got umask=0077")


def test_variation_that_was_asked_for_and_not_made(tmp_path: Path) -> None:
    asked = request((A, B), variations={B.name: Variation(umask="0077", cores=1)})
    refused(tmp_path, decide(case(A, B, request=asked)), Outcome.INVALID, "expected umask=0077 cores=1, got none")


def test_planned_variation_is_neither_drift_nor_a_secret(tmp_path: Path) -> None:
    varied = B.but(variation=Variation(umask="0077"))
    asked = request((A, varied), variations={B.name: Variation(umask="0077")})
    verdict = decide(case(A, varied, request=asked))
    assert verdict.outcome is Outcome.REPRODUCED
    assert "varied on purpose: umask=0077" in render(verdict)
    statements = {h.name: (Statement.read(h.payload), h.envelope) for h in (A, varied)}
    assert contradiction(verdict, statements, (A.entry, varied.entry)) is None


EVIDENCE: dict[str, tuple[Host, int, str]] = {
    "cloned_from_the_sibling": (B.but(evidence_changes=dict(A.evidence)), 0, "one machine-id"),
    "of_a_cloned_virtual_machine": (
        B.but(evidence_changes={"machine_id": A.evidence.machine_id}),
        0,
        "expected two (cloned image?)",
    ),
    "of_one_kernel": (B.but(evidence_changes={"boot_id": A.evidence.boot_id}), 1, "run on one kernel"),
    "of_one_engine": (B.but(evidence_changes={"engine": A.evidence.engine}), 1, "one container engine id"),
    "from_one_address": (B.but(observation_changes={"peer": A.observation.peer}), 1, "connect from one address"),
    "from_no_address": (B.but(observation_changes={"peer": None}), 1, "saw no peer address"),
    "of_one_machine_rebooted_between": (
        B.but(
            observation_changes={"started": "2026-03-01T12:11:00Z", "finished": "2026-03-01T12:20:00Z"},
            evidence_changes={
                "started": "2026-03-01T12:11:10Z",
                "finished": "2026-03-01T12:19:00Z",
                "boot_time": "2026-03-01T12:10:30Z",
            },
        ),
        1,
        "did not build at the same time",
    ),
    "of_another_day": (
        B.but(evidence_changes={"started": "2026-02-01T12:00:00Z", "finished": "2026-02-01T12:09:00Z"}),
        0,
        "clock contradicts the master's: expected a build within",
    ),
    "of_a_machine_that_booted_after_it_built": (
        B.but(evidence_changes={"boot_time": "2026-03-01T12:05:00Z"}),
        0,
        "says it booted",
    ),
    "of_other_hardware": (B.but(evidence_changes={"dmi": hex64("other")}), 2, "is not the enrolled hardware: expected"),
    "of_hardware_that_no_operator_signed": (
        B.but(entry_changes={"operator_signature": "AAAA"}),
        2,
        "operator signature of host host-b does not hold",
    ),
    "vouched_for_by_another_operator_than_it_names": (
        B.but(entry_changes={"operator": "alice"}),
        2,
        "operator signature of host host-b",
    ),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence(name: str, tmp_path: Path) -> None:
    host, level, said = EVIDENCE[name]
    verdict = decide(case(A, host, policy=Policy(quorum=2, min_independence=4)))
    assert verdict.level == level
    refused(tmp_path, verdict, Outcome.NOT_INDEPENDENT, said)
