"""Verdicts really reached at I3 and I4, by the real master over hosts that pass for machines of their own.

The hosts are one kernel's network and mount namespaces in which everything that a host says of itself is forged
(machine-id, boot-id, DMI): whoever has root can do just that, so I3 and I4 are what the operators vouch for, and this
test is the forger whom the trust model names (docs/trust-model.md). What stops him is what he cannot write: an
operator's signature over the hardware that he claims.

Rules:

- One service, whose policy asks for I3; each test changes the entries on the master's disk, by command, as operators do.
- The baseline is I4, so that no lower level has a reason of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome, Verdict

from tests.support.machines import Machines, machines
from tests.support.processes import run
from tests.support.service import BIN

pytestmark = pytest.mark.system
HOSTS = ("host-a", "host-b")
HARDWARE = "6b1f0f2e-0d6c-4c6e-9d0e-1c1f6f0b8a11"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two machines, two operators, a policy that asks for I3."""
    folder: Path = tmp_path_factory.mktemp("machines")
    with machines(folder, HOSTS, ("olga", "oscar"), min_independence=3) as running:
        yield running


def told(verdict: Verdict) -> str:
    return "\n".join((verdict.summary, *verdict.reasons))


def copied(site: Machines, tag: str, target: Path) -> Path:
    """What anyone may have of a verdict, handed out by command."""
    argv = [f"{BIN}/silvermetal-master", "wait", str(site.basedir), "--ref", f"refs/tags/{tag}"]
    run([*argv, "--copy-to", str(target)])
    return target


def checked(site: Machines, folder: Path, level: int, *more: str) -> dict[str, object]:
    argv = [f"{BIN}/silvermetal", "verify", str(folder), "--keys", str(site.config / "hosts"), "--json"]
    argv += ["--master-key", site.ledger.key.hex, "--origin", site.ledger.origin, "--min-independence", str(level)]
    result: dict[str, object] = json.loads(run([*argv, *more]))
    return result


def test_two_operators_at_two_sites_vouch_for_two_machines(site: Machines, tmp_path: Path) -> None:
    site.vouch("host-a", "olga", "north")
    site.vouch("host-b", "oscar", "south")
    verdict = site.judge("v4")
    assert (verdict.outcome, verdict.level, verdict.reasons) == (Outcome.REPRODUCED, 4, ()), told(verdict)
    assert "independence I4 (distinct operators)" in verdict.summary
    assert {h.peer for h in verdict.hosts} == {site.machine(h).address for h in HOSTS}
    folder = copied(site, "v4", tmp_path / "v4")
    vouching = [f"--operator={name}={site.operator_public(name)}" for name in ("olga", "oscar")]
    assert checked(site, folder, 4, *vouching)["level"] == 4
    assert checked(site, folder, 2)["level"] == 4, "and who asks for no more needs no operator's key"
    shown = run([f"{BIN}/silvermetal", "inspect", str(folder / "statements" / "host-a.json")])
    hardware = site.machine("host-a").inside(f"{BIN}/silvermetal-worker", "hardware").strip()
    assert re.search(rf"hardware \(dmi\) +{hardware}\n", shown)
    of_verdict = run([f"{BIN}/silvermetal", "inspect", str(folder / "verdict.dsse.json")])
    assert "independence I4 (distinct operators), quorum 2" in of_verdict
    assert hardware in of_verdict


def test_one_operator_vouches_for_two_machines(site: Machines, tmp_path: Path) -> None:
    site.vouch("host-a", "olga", "north")
    site.vouch("host-b", "olga", "south")
    verdict = site.judge("v3")
    assert (verdict.outcome, verdict.level) == (Outcome.REPRODUCED, 3), told(verdict)
    assert verdict.reasons == ("not I4: host-a and host-b are vouched for by one operator (olga)",)
    vouching = f"--operator=olga={site.operator_public('olga')}"
    assert checked(site, copied(site, "v3", tmp_path / "v3"), 3, vouching)["level"] == 3


def test_two_hosts_with_one_hardware_are_no_two_machines(site: Machines) -> None:
    """Both operators signed it: a cloned firmware, or one machine behind both."""
    before = {h: (site.machine(h).folder / "dmi" / "product_uuid").read_text() for h in HOSTS}
    try:
        for host, operator in zip(HOSTS, ("olga", "oscar"), strict=True):
            site.machine(host).says_hardware(HARDWARE)
            site.vouch(host, operator, f"at-{host}")
        verdict = site.judge("v2-clone")
    finally:
        for host, product_uuid in before.items():
            site.machine(host).says_hardware(product_uuid)
    assert (verdict.outcome, verdict.level) == (Outcome.NOT_INDEPENDENT, 2), told(verdict)
    assert "proven to I2 (distinct kernels) only; policy asks for I3 (distinct machines)" in verdict.summary
    assert verdict.reasons == ("host-a and host-b report one hardware identity",)


def test_what_no_operator_signed_vouches_for_nothing(site: Machines) -> None:
    """The forger invents a machine for host-a; for host-b Olga signs in Oscar's name, as who has the disk could."""
    site.vouch("host-a", "olga", "north")
    site.vouch("host-b", "oscar", "south", key=site.operator_key("olga"))
    before = (site.machine("host-a").folder / "dmi" / "product_uuid").read_text()
    site.machine("host-a").says_hardware(HARDWARE)
    try:
        verdict = site.judge("v2-forged")
    finally:
        site.machine("host-a").says_hardware(before)
    assert (verdict.outcome, verdict.level) == (Outcome.NOT_INDEPENDENT, 2), told(verdict)
    hardware, signature = verdict.reasons
    assert re.fullmatch(r"host-a is not the enrolled hardware: expected [0-9a-f]{16}…, got [0-9a-f]{16}…", hardware)
    assert signature == "operator signature of host host-b does not hold (SignatureError)"
