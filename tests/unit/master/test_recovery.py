"""What a master that died left is brought to its end, once, before the next master starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildStore
from silvermetal_master.database import engine_settings
from silvermetal_master.errors import SettingsError
from silvermetal_master.recording import enter
from silvermetal_master.recovery import ABANDONED, hold_alone, recover, refuse_rewound
from silvermetal_master.settings import load
from silvermetal_master.signing import open_ledger
from silvermetal_proof.verdict import Outcome, decide

from tests.unit.master.site import make_site
from tests.unit.master.test_steps import open_build
from tests.unit.proof.makers import BUILD, REF, A, B, case


def test_h7_an_unjudged_build_is_abandoned_once_and_its_key_goes(tmp_path: Path) -> None:
    settings, state = load(make_site(tmp_path)), tmp_path / "state"
    record = open_build(state)
    assert recover(state, settings) == [f"build {BUILD}: abandoned; entry 0 of the ledger says so"]
    assert record.verdict.outcome is Outcome.INCOMPLETE
    assert record.verdict.ours
    assert all((h.problem or "").endswith(ABANDONED) for h in record.verdict.hosts)
    assert not record.file("seal.key").exists()
    assert BuildStore(state).newest(REF) is None, "the verification that is asked for again answers"
    assert recover(state, settings) == []
    assert len(open_ledger(settings, state).check()) == 1


@pytest.mark.parametrize("died_after", ["the verdict", "the ledger"])
def test_h7_a_verdict_that_was_not_recorded_is_recorded_once(tmp_path: Path, died_after: str) -> None:
    settings, state = load(make_site(tmp_path)), tmp_path / "state"
    record = open_build(state)
    record.close(decide(case(A, B)))
    if died_after == "the ledger":
        enter(record, settings, state)
        record.file("ledger-index").unlink()
    assert recover(state, settings) == [f"build {BUILD}: its verdict is recorded as entry 0 of the ledger"]
    assert BuildStore(state).newest(REF) == {"ref": REF, "build": BUILD, "ledger": 0}
    assert recover(state, settings) == []
    assert len(open_ledger(settings, state).check()) == 1


def test_a_ledger_that_is_shorter_than_the_records_know_is_refused(tmp_path: Path) -> None:
    settings, state = load(make_site(tmp_path)), tmp_path / "state"
    refuse_rewound(state, settings)
    record = open_build(state)
    record.close(decide(case(A, B)))
    enter(record, settings, state)
    refuse_rewound(state, settings)
    checkpoint = state / "ledger" / "checkpoint"
    entry = state / "ledger" / "entries" / f"{0:012}"
    signed, content = checkpoint.read_bytes(), entry.read_bytes()
    # Death between entry and checkpoint is no rewinding.
    checkpoint.unlink()
    refuse_rewound(state, settings)
    # An older ledger, whole in itself: here the empty one.
    entry.unlink()
    with pytest.raises(SettingsError, match=r"expected entry 0, .* got a ledger of 0 entries: it was rewound"):
        refuse_rewound(state, settings)
    entry.write_bytes(content)
    checkpoint.write_bytes(signed)
    refuse_rewound(state, settings)


def test_two_masters_do_not_run_in_one_folder(tmp_path: Path) -> None:
    hold_alone(tmp_path)
    again = f"from pathlib import Path; from silvermetal_master.recovery import hold_alone; hold_alone(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "expected no other master in this folder" in done.stderr


@pytest.mark.parametrize("url", ["postgresql://db/x", "postgres://db/x", "postgresql+psycopg2://db/x"])
def test_the_driver_of_postgresql_is_named(url: str) -> None:
    with pytest.raises(SettingsError, match=r"expected a URL that begins with postgresql\+pg8000://"):
        engine_settings(url)
