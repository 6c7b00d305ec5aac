"""Hosts that hold their own key and password and lie in what they send, against the real master.

Rules:

- Each attack is one tag on one real master; the ledger's entry is read back and must be the refusal.
- The baseline is believed at I2, so that no attack fails for a reason of its own.
"""

from __future__ import annotations

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile
from tests.support.processes import wait_until

pytestmark = pytest.mark.system

# What host-a signed for this same build: host-a is an accomplice who shows it.
ACCOMPLICE = """
import base64, json
def of_sibling(order):
    while True:
        try:
            envelope = (directory.parent / 'host-a' / 'signed.json').read_bytes()
            said = json.loads(base64.b64decode(json.loads(envelope)['payload']))
            if said['predicate']['runDetails']['metadata']['invocationId'] == order.build:
                return envelope, said['predicate']
        except FileNotFoundError:
            pass
        time.sleep(0.05)
"""


def test_baseline_two_hosts_that_tell_one_story_are_believed(service: Hostile) -> None:
    verdict = service.judge("v0")
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    assert verdict.level == 2


SIGNED = {
    "evidence_of_an_attribution": (
        "def says(s, order): s['predicate']['silvermetal_attribution'] = order.build",
        "attribution: expected none, got",
    ),
    "forged_signature": (
        "import json\ndef signs(payload, key, order):\n"
        " e = json.loads(sign(payload, key)); e['signatures'][0]['sig'] = 'A' * 86 + '=='\n"
        " return json.dumps(e, sort_keys=True, separators=(',', ':')).encode()",
        "signature does not hold: expected key",
    ),
    "truncated_signature": (
        "import base64, json\ndef signs(payload, key, order):\n"
        " e = json.loads(sign(payload, key)); raw = base64.b64decode(e['signatures'][0]['sig'])[:63]\n"
        " e['signatures'][0]['sig'] = base64.b64encode(raw).decode()\n"
        " return json.dumps(e, sort_keys=True, separators=(',', ':')).encode()",
        "expected 64 bytes, got 63 bytes",
    ),
    "re_encoded_envelope": (
        "import json\ndef signs(payload, key, order): return json.dumps(json.loads(sign(payload, key))).encode()",
        "re-encoded: expected the canonical bytes that were signed",
    ),
    "payload_type_confusion": (
        "def signs(payload, key, order): return sign(payload, key, 'application/vnd.silvermetal.verdict+json')",
        "another payload type: expected application/vnd.in-toto+json",
    ),
    "key_that_is_not_enrolled": (
        "from silvermetal_proof.statement import SigningKey\n"
        "def signs(payload, key, order): return sign(payload, SigningKey.generate())",
        "signed by another key: expected",
    ),
    "key_of_the_sibling": (
        "from silvermetal_proof.statement import SigningKey\ndef signs(payload, key, order):\n"
        " return sign(payload, SigningKey.from_pem((directory.parent/'host-a'/'keys'/'signing.pem').read_bytes()))",
        "signed by another key: expected",
    ),
    "envelope_of_the_sibling": (
        ACCOMPLICE + "def signs(payload, key, order): return of_sibling(order)[0]",
        "signed by another key: expected",
    ),
    "nonce_of_the_sibling": (
        ACCOMPLICE + "def says(s, order): s['predicate']['silvermetal_nonce'] = of_sibling(order)[1]['silvermetal_nonce']",
        "nonce: expected",
    ),
    "sealed_for_the_siblings_name": (
        "def seals(envelope, order): return seal(envelope, public_hex=order.seal_key, build=order.build, host='host-a')",
        "does not open: expected one sealed for build",
    ),
    "sealed_with_a_key_of_its_own": (
        "from silvermetal_proof.seal import SealingKey\ndef seals(envelope, order):\n"
        " return seal(envelope, public_hex=SealingKey.generate().public_hex, build=order.build, host=order.host)",
        "does not open",
    ),
    "not_sealed_at_all": ("def seals(envelope, order): return envelope", "not a sealed statement: expected a line"),
    "nothing_sent": ("def seals(envelope, order): return b''", "not a sealed statement"),
    "json_nested_deeply": ("def says(s, order): return b'[' * 10**6", "nested too deeply: expected at most 32 levels"),
    "json_not_utf_8": ("def says(s, order): return b'{\"\\xff\\xfe\":1}'", "not UTF-8"),
    "json_key_twice": ("def says(s, order): return b'{\"_type\":1,\"_type\":2}'", "same key twice"),
    "json_too_large": ("def says(s, order): return b' ' * (4 * 2**20 + 1)", "too large: expected at most 4194304"),
    "path_traversal_in_the_isos_name": (
        "def says(s, order): s['subject'][0]['name'] = '../../../etc/cron.d/x'",
        "subject.0.name",
    ),
    "path_traversal_in_the_hosts_name": (
        "def says(s, order): s['predicate']['silvermetal_host'] = '../host-a'",
        "silvermetal_host",
    ),
    "another_commit": (
        "def says(s, order):\n s['predicate']['buildDefinition']['externalParameters']['commit'] = 'dead' * 10",
        "commit: expected",
    ),
    "another_recipe": (
        "def says(s, order):\n s['predicate']['buildDefinition']['externalParameters']['recipe'] = 'minimal-live'",
        "recipe: expected tiny, got minimal-live",
    ),
    "another_tag": (
        "def says(s, order):\n s['predicate']['buildDefinition']['externalParameters']['ref'] = 'refs/tags/v0'",
        "ref: expected refs/tags/v1-another_tag, got refs/tags/v0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_answer_that_does_not_hold(service: Hostile, name: str) -> None:
    code, said = SIGNED[name]
    service.refused(f"v1-{name}", Outcome.INVALID, "host-b", said, host_b=code)


def test_statement_of_an_older_build_replayed(service: Hostile) -> None:
    """Well signed by its own host for another build of the same commit, sealed anew for this one."""
    service.judge("v2-old")
    old = service.liars["host-b"].directory / "signed.json"
    old.rename(old.with_name("old.json"))
    code = "def signs(payload, key, order): return (directory / 'old.json').read_bytes()"
    service.refused("v2-new", Outcome.INVALID, "statement of host-b: build: expected", host_b=code)


def test_both_hosts_are_accomplices_over_another_commits_input(service: Hostile) -> None:
    """Hosts that agree with one another still must agree with the pins."""
    code = (
        "def says(s, o): s['predicate']['buildDefinition']['internalParameters']['build_info']['COMMIT'] = 'dead' * 10"
    )
    verdict = service.refused("v3", Outcome.INPUT_DRIFT, "BUILD_INFO COMMIT: expected", host_a=code, host_b=code)
    assert [d.name for d in verdict.drift] == ["BUILD_INFO COMMIT"]


def test_copied_hash_with_chunks_that_were_made_up(service: Hostile) -> None:
    code = "def says(s, order): s['predicate']['silvermetal_artefact']['chunks'] = ['0' * 64]"
    service.refused("v4", Outcome.DIVERGED, "one of them did not hash its ISO", host_b=code)
    build = service.builds_of("verify")[-1]["buildid"]
    ended = {s["name"]: s["state_string"] for s in service.api(f"builds/{build}/steps")["steps"]}
    assert "no explanation" in ended["explain"], "a lie is no reason for a traceback"


CLONED = "\n".join(
    f" s['predicate']['silvermetal_hostEvidence'][{field!r}] = other['silvermetal_hostEvidence'][{field!r}]"
    for field in ("machine_id", "boot_id", "engine", "boot_time")
)


def test_evidence_cloned_from_the_sibling(service: Hostile) -> None:
    code = f"{ACCOMPLICE}def says(s, order):\n other = of_sibling(order)[1]\n{CLONED}"
    verdict = service.refused("v5", Outcome.NOT_INDEPENDENT, "one machine-id", "expected two", host_b=code)
    assert verdict.level == 0


def test_two_workers_on_one_kernel_claim_distinct_kernels(service: Hostile) -> None:
    """All else is faked well: identities, engines, addresses."""
    code = "def says(s, order): s['predicate']['silvermetal_hostEvidence']['boot_id'] = '1' * 64"
    verdict = service.refused(
        "v6", Outcome.NOT_INDEPENDENT, "run on one kernel", "asks for I2", host_a=code, host_b=code
    )
    assert verdict.level == 1


def test_two_workers_of_one_address_claim_distinct_kernels(service: Hostile) -> None:
    """Evidence can be faked by root on the host; where the connection comes from is seen by the master."""
    liar = service.liars["host-b"]
    liar.stop()
    honest, liar.address = liar.address, service.liars["host-a"].address
    liar.start()
    service.wait_connected("host-b")
    try:
        verdict = service.refused("v7", Outcome.NOT_INDEPENDENT, "connect from one address (127.0.0.1): expected two")
        assert verdict.level == 1
    finally:
        liar.stop()
        liar.address = honest
        liar.start()
        service.wait_connected("host-b")


def test_clock_that_contradicts_the_master(service: Hostile) -> None:
    """A statement prepared on another day, nonce filled in later."""
    code = (
        "def says(s, order):\n e = s['predicate']['silvermetal_hostEvidence']; m = s['predicate']['runDetails']['metadata']\n"
        " e['boot_time'] = e['started'] = e['finished'] = m['startedOn'] = m['finishedOn'] = '2026-01-01T00:00:00Z'"
    )
    service.refused("v8", Outcome.NOT_INDEPENDENT, "clock contradicts the master's: expected a build", host_b=code)


def test_hardware_that_is_claimed_lifts_no_level(service: Hostile) -> None:
    code = "def says(s, order): s['predicate']['silvermetal_hostEvidence']['dmi'] = order.nonce"
    verdict = service.judge("v9", host_a=code, host_b=code)
    assert verdict.level == 2, "hardware counts only when an operator signed the entry"


def test_key_revoked_while_its_host_builds(service: Hostile) -> None:
    """Revocation counts at the moment of the verdict, without a restart, even when it leaves too few hosts."""
    entry = service.config / "hosts" / "host-b.toml"
    before = entry.read_text()
    mark = service.folder / "host-b-builds"
    wait = f"def seals(e, order):\n open({str(mark)!r}, 'w').close()\n time.sleep(2)\n return seal(e, public_hex=order.seal_key, build=order.build, host=order.host)"
    service.liars["host-a"].attack("")
    service.liars["host-b"].attack(wait)
    service.push_tag("v10")
    wait_until(mark.exists, "host-b in its build", timeout=60)
    entry.write_text(before + 'revoked = "2026-01-01T00:00:00Z"\n')
    try:
        verdict = service.verdict("v10")
    finally:
        entry.write_text(before)
    assert verdict.outcome is Outcome.INVALID
    assert "key of host host-b is revoked: expected a key that is not revoked" in str(verdict.reasons)
    assert verdict in service.recorded()
