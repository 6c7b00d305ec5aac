"""Waiting for the verdict on a ref, and handing its files out.

Rules:

- Looks at the records only; it needs no network and no Buildbot.
- Says what is recorded: a build that could not be pinned is told as such.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.digest import digest_of
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.release import SUMS, format_sums
from silvermetal_proof.verdict import Verdict, render

from silvermetal_master.attribution import PAGE, REPORT, report_of
from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.run import STATE_FOLDER, config_of
from silvermetal_master.tag_book import TagBook

POLL_SECONDS = 0.2
MAX_SHOWN = 20


@dataclass(frozen=True)
class Ended:
    """How a ref ended: with a verdict, or with the reason why there is none; a reason beside a verdict is newer."""

    verdict: Verdict | None
    record: BuildRecord | None
    failed: str | None
    tag: tuple[str, ...] = ()
    """What became of the tag, a sentence each."""


def wait_for(basedir: Path, ref: str, timeout: float) -> Ended | None:
    """Wait up to ``timeout`` seconds; None when nothing was recorded by then."""
    store, book = BuildStore(basedir / STATE_FOLDER), TagBook(basedir / STATE_FOLDER)
    end = time.monotonic() + timeout
    while True:
        note = store.newest(ref)
        if note is not None:
            entry = book.entry(ref)
            told = entry.told if entry is not None else ()
            if "build" not in note:
                return Ended(None, None, str(note["failed"]), told)
            record = store.record(note["build"])
            return Ended(record.verdict, record, note.get("failed"), told)
        if time.monotonic() >= end:
            return None
        time.sleep(POLL_SECONDS)


def describe(ended: Ended) -> str:
    """The end in lines for people, with the differing files where the bytes differ."""
    if ended.verdict is None or ended.record is None:
        return f"no verdict: {ended.failed}\n" + "".join(f"  tag: {line}\n" for line in ended.tag)
    text = render(ended.verdict)
    text += "".join(f"  tag: {line}\n" for line in ended.tag)
    if ended.failed is not None:
        text += f"  since then, without a verdict: {ended.failed}\n"
    report = ended.record.file("difference.json")
    if report.exists():
        value = json.loads(report.read_bytes())
        text += f"  difference: {value.get('summary', '')}\n"
        found = value.get("differences", [])
        paths = list(dict.fromkeys(str(d.get("layer_path", "")) for d in found if isinstance(d, dict)))
        text += "".join(f"    {path}\n" for path in paths[:MAX_SHOWN])
        if len(paths) > MAX_SHOWN:
            text += f"    and {len(paths) - MAX_SHOWN} more\n"
    if (said := report_of(ended.record)) is not None:
        text += f"  attribution: {said.get('summary', '')}\n"
    return text


def copy_out(ended: Ended, basedir: Path, target: Path) -> None:
    """Copy what anyone may have: statements, verdict, lock, pins, explanation, ledger, public keys; no secret.

    The public keys are copied for convenience; who checks a release takes them from somewhere else. ``SHA256SUMS``
    names every file, so that `silvermetal verify` and `sha256sum -c` see what is missing or another one; it proves
    nothing.
    """
    if ended.record is None:
        return
    target.mkdir(parents=True, exist_ok=True)
    reports = ("difference.json", "difference.html", REPORT, PAGE)
    for name in ("verdict.dsse.json", "packages.lock", "pins.json", *reports):
        source = ended.record.file(name)
        if source.exists():
            shutil.copyfile(source, target / name)
    config = config_of(basedir)
    for folder, source in (("statements", ended.record.file("statements")), ("keys", config / "hosts")):
        if source.is_dir():
            shutil.copytree(source, target / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    shutil.copyfile(config / "master.pub", target / "keys" / "master.pub")
    _copy_ledger(basedir / STATE_FOLDER / "ledger", target / "ledger")
    write_sums(target)


def _copy_ledger(source: Path, target: Path) -> None:
    """Checkpoint first: entries only grow, so that what it covers is there, whatever is appended meanwhile."""
    if not (source / "checkpoint").exists():
        return
    (target / "entries").mkdir(parents=True, exist_ok=True)
    checkpoint = (source / "checkpoint").read_bytes()
    (target / "checkpoint").write_bytes(checkpoint)
    _, _, size = checkpoint.partition(b"\n")
    size, _, _ = size.partition(b"\n")
    for index in range(int(size) if size.isdigit() else 0):
        entry = source / "entries" / f"{index:012}"
        # One that is missing is for whoever checks the copy to tell.
        if entry.exists():
            shutil.copyfile(entry, target / "entries" / entry.name)


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` of every file below ``folder``, in place of an older one."""
    digests = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / SUMS):
        with path.open("rb") as stream:
            digests[str(path.relative_to(folder))] = digest_of(stream)
    write_durably(folder / SUMS, format_sums(digests, below=True), replace=True)
