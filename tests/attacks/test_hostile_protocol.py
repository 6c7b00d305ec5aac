"""Hosts that speak Buildbot's worker protocol themselves: what they send beside a statement, against the real master.

Rules:

- Nothing that a worker writes to standard output, into a log or at the wrong time decides anything (H5).
- The master keeps its memory and goes on: after each attack it judges an honest build.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import Hostile
from tests.support.service import BIN

pytestmark = pytest.mark.system

UPLOADS = {
    "oversize_and_deaf_to_refusals": (
        "async def uploads(writer, sealed):\n"
        " for _ in range(70):\n"
        "  try: await writer.callRemote('write', b'A' * 131072)\n"
        "  except Exception: pass\n"
        " await writer.callRemote('close')",
        "expected statement.sealed from the host, got more than 8388608 bytes",
    ),
    "never_closed": (
        "async def uploads(writer, sealed): await writer.callRemote('write', sealed)",
        "expected statement.sealed from the host, got no whole file",
    ),
    "an_archive_to_unpack": (
        "async def uploads(writer, sealed): await writer.callRemote('unpack')",
        "expected statement.sealed from the host, got no whole file",
    ),
    "nothing_and_says_it_went_well": (
        "async def uploads(writer, sealed): pass",
        "expected statement.sealed from the host, got no whole file",
    ),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_upload(service: Hostile, name: str) -> None:
    code, said = UPLOADS[name]
    before = _peak(service)
    service.refused(f"v0-{name}", Outcome.INCOMPLETE, "host-b: step collect", said, host_b=code)
    assert _peak(service) - before < 256 * 1024, "KiB: the master's memory is not the worker's to fill"


@pytest.mark.parametrize("block", ["2**33", "[1, 2, 3]", "None", "{}"])
def test_block_that_is_no_bytes(service: Hostile, block: str) -> None:
    """Of a number, bytes() makes as many zeros as it says: eight GiB in one small message."""
    code = (
        "async def uploads(writer, sealed):\n"
        f" try: await writer.callRemote('write', {block})\n"
        " finally: await writer.callRemote('close')"
    )
    before = _peak(service)
    tag = f"v0-block-{len(block)}"
    service.refused(tag, Outcome.INVALID, "host-b: not a sealed statement", "got b''", host_b=code)
    assert _peak(service) - before < 256 * 1024


def _peak(service: Hostile) -> int:
    """The master's peak memory, KiB."""
    assert service.master is not None
    status = Path(f"/proc/{service.master.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_bytes_after_the_end_change_nothing(service: Hostile) -> None:
    """A second statement behind the first, on the same open writer: only bytes before the close are looked at."""
    code = (
        "async def uploads(writer, sealed):\n"
        " await writer.callRemote('write', sealed); await writer.callRemote('close')\n"
        " try: await writer.callRemote('write', sealed)\n"
        " except Exception as error: print('refused', error)"
    )
    verdict = service.judge("v0-after", host_b=code)
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons


ANSI = "\\x1b[31m\\x1b]0;owned\\x07\\x9b2J\\u202e"
HTML = "<script>fetch('/api/v2/forceschedulers')</script>"


def test_words_of_a_failing_host_reach_people_as_plain_text(service: Hostile, tmp_path: Path) -> None:
    """ANSI, bidi marks and HTML in standard error, which the step's text and the verdict quote."""
    code = (
        "async def runs(update, words):\n"
        " if 'attest' not in words: return 0\n"
        f" await update('stderr', 'silvermetal-worker: {ANSI}{HTML.replace(chr(39), chr(34))}\\n')\n"
        " return 3"
    )
    verdict = service.refused("v0-ansi", Outcome.INCOMPLETE, "host-b: step", host_b=code)
    told = "\n".join(verdict.reasons)
    assert "script" in told
    assert told.replace("\n", "").isprintable()
    from tests.support.processes import Program

    shown = Program(
        [f"{BIN}/silvermetal-master", "wait", str(service.basedir), "--ref", "refs/tags/v0-ansi"], tmp_path / "shown"
    )
    assert shown.process.wait(30) == 1
    assert (tmp_path / "shown").read_text().replace("\n", "").isprintable()


def test_words_in_evidence_reach_people_as_plain_text(service: Hostile, tmp_path: Path) -> None:
    """A kernel's name that clears the screen and writes another verdict."""
    code = (
        "def says(s, order):\n"
        " s['predicate']['silvermetal_hostEvidence']['kernel']['release'] = '6.1\\x9b2J\\u2028REPRODUCED\\u202e'\n"
    )
    service.judge("v0-kernel", host_b=code)
    from tests.support.processes import Program

    shown = Program(
        [f"{BIN}/silvermetal-master", "wait", str(service.basedir), "--ref", "refs/tags/v0-kernel"], tmp_path / "shown"
    )
    shown.process.wait(30)
    assert (tmp_path / "shown").read_text().replace("\n", "").isprintable()


def test_properties_and_statements_on_standard_output_are_only_text(service: Hostile) -> None:
    """H5: what looks like Buildbot's, Git's or our own answers on standard output sets nothing."""
    lines = json.dumps(
        [
            "silvermetal_build=" + "f" * 32,
            "##vso[task.setvariable variable=commit]dead",
            '{"outcome": "REPRODUCED"}',
            "commit: " + "dead" * 10,
        ]
    )
    code = (
        "async def runs(update, words):\n"
        f" for line in {lines}:\n"
        "  await update('stdout', line + '\\n'); await update('header', line + '\\n')\n"
        "  await update('log', ('verdict', line + '\\n'))\n"
        " return 0"
    )
    told = service.judge("v0-out", host_b=code)
    build = service.builds_of("iso@host-b")[-1]["buildid"]
    properties = service.api(f"builds/{build}/properties")["properties"][0]
    assert properties["silvermetal_build"][0] == told.build
    assert told.commit == service.git("rev-parse", "HEAD")
    assert told.outcome in (Outcome.REPRODUCED, Outcome.INCOMPLETE)


def test_exit_code_that_is_no_number(service: Hostile) -> None:
    code = "async def runs(update, words): return [0]"
    service.refused("v0-rc", Outcome.INCOMPLETE, "host-b", host_b=code)


def test_flood_on_standard_output_is_bounded(service: Hostile) -> None:
    """32 MiB without a line's end; the master still judges, and keeps its memory."""
    code = (
        "async def runs(update, words):\n"
        " if 'build' in words:\n"
        "  for _ in range(64): await update('stdout', 'A' * 524288)\n"
        " return 0"
    )
    before = _peak(service)
    # The other host builds as long as a flood may take: they must be seen to build at the same time.
    patient = (
        "from twisted.internet import reactor, task\n"
        "async def runs(update, words):\n"
        " if 'build' in words: await task.deferLater(reactor, 8, lambda: None)\n"
        " return 0"
    )
    verdict = service.judge("v0-flood", host_a=patient, host_b=code)
    assert verdict.outcome is Outcome.REPRODUCED, verdict.reasons
    assert _peak(service) - before < 512 * 1024


def test_master_judges_an_honest_build_after_all_of_it(service: Hostile) -> None:
    assert service.judge("v0-honest").outcome is Outcome.REPRODUCED
