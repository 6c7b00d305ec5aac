"""Somebody who can write on the master's disk while it runs, but has no key: what he leaves is refused, and said.

Rules:

- The files are as they were afterwards, and an honest build is believed again.
"""

from __future__ import annotations

import pytest
from silvermetal_proof.errors import LedgerError

from tests.support.hostile import Hostile
from tests.support.processes import wait_until

pytestmark = pytest.mark.system


def failed(service: Hostile, tag: str) -> str:
    """Why there is no recorded verdict on ``tag``, as the master noted it."""
    for liar in service.liars.values():
        liar.attack("")
    service.push_tag(tag)
    wait_until(lambda: (service.store_note(f"refs/tags/{tag}") or {}).get("failed"), f"the end of {tag}", timeout=60)
    service.wait_idle()
    assert service.builds_of("verify")[-1]["results"] == 2, "never green"
    note = service.store_note(f"refs/tags/{tag}")
    assert note is not None
    return str(note["failed"])


def test_one_key_enrolled_under_two_names(service: Hostile) -> None:
    """Host-b's entry is given host-a's key: then host-a alone could be both."""
    entries = [service.config / "hosts" / f"{host}.toml" for host in ("host-a", "host-b")]
    theirs, before = (e.read_text() for e in entries)
    key = next(line for line in theirs.splitlines() if line.startswith("public_key"))
    forged = "\n".join(key if line.startswith("public_key") else line for line in before.splitlines())
    known = len(service.recorded())
    entries[1].write_text(forged + "\n")
    try:
        why = failed(service, "v20-one-key")
    finally:
        entries[1].write_text(before)
    assert "host-b.toml" in why and "public_key" in why and "expected" in why, why
    assert len(service.recorded()) == known


@pytest.mark.parametrize("what", ["altered", "checkpoint_of_a_thief"])
def test_ledger(service: Hostile, what: str) -> None:
    """The log is not gone on with from what nobody signed; the verdict is kept, and recorded when the log is whole."""
    folder = service.state / "ledger"
    if not (folder / "checkpoint").exists():
        service.judge("v19")
    path = folder / "checkpoint" if what == "checkpoint_of_a_thief" else folder / "entries" / f"{0:012}"
    before = path.read_bytes()
    path.write_bytes(_forged(service, what, before))
    try:
        why = failed(service, f"v20-{what}")
        with pytest.raises(LedgerError):
            service.ledger.check()
        left = sorted(p.name for p in (folder / "entries").iterdir())
    finally:
        path.write_bytes(before)
    assert "the verdict could not be recorded" in why and "expected" in why, why
    assert len(left) == len(service.ledger.check()), "nothing was appended"
    assert service.judge(f"v21-{what}") in service.recorded()


def _forged(service: Hostile, what: str, before: bytes) -> bytes:
    from silvermetal_proof.ledger import sign_checkpoint
    from silvermetal_proof.statement import SigningKey

    if what == "altered":
        return before.replace(b"payload", b"PAYLOAD")
    checkpoint = service.ledger.checkpoint()
    assert checkpoint is not None
    return sign_checkpoint(checkpoint, SigningKey.generate())
