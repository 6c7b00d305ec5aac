"""What a master does before it starts: it makes sure that it is alone, and ends what a master that died left behind.

Rules (H7):

- One master a folder: the lock is held by the process itself, over ``exec`` too, and ends with it whatever way it ends.
- A verdict that was decided and not recorded (a crash, a full disk) is signed and appended now, exactly once.
- A build that was asked for and not judged is abandoned: INCOMPLETE, by our own fault, in the ledger; its sealing key
  is destroyed. Its orders are void then, so that orphans of its fan-out are refused at the handover and do not build.
- An abandoned build is not noted by its ref: Buildbot asks for the verification again, and that one is the answer.
- A ledger that is shorter than the records know is not started with: somebody put an older one in its place.
- A record that cannot be brought to its end is named and left as it is; it stops no other build.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.verdict import Submission, decide
from silvermetal_proof.verdict.records import Case

from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.case_of import case_of
from silvermetal_master.errors import SettingsError
from silvermetal_master.recording import enter
from silvermetal_master.settings import Settings
from silvermetal_master.signing import open_ledger

ABANDONED = "the master ended before the verdict; the verification is asked for again"
LOCK_FILE = ".lock"


def hold_alone(basedir: Path) -> int:
    """Take the folder's lock and keep it over ``exec``. :raises SettingsError: when another master has it."""
    descriptor = os.open(basedir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(
            f"{basedir}: expected no other master in this folder, got one that runs; stop it first"
        ) from None
    # For `silvermetal-master stop`: only who holds the lock is believed to be this process.
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.set_inheritable(descriptor, True)
    return descriptor


def recover(state: Path, settings: Settings) -> list[str]:
    """Bring every unfinished build in ``state`` to its end, oldest first; nothing may build meanwhile.

    Returns a sentence for each, also for one that could not be.
    """
    told = []
    folder = state / "builds"
    paths = folder.iterdir() if folder.is_dir() else ()
    for path in sorted(paths, key=lambda p: (p.stat().st_mtime_ns, p.name)):
        record = BuildRecord(path)
        try:
            said = _end(record, settings, state)
        except (ProofError, SettingsError, OSError, ValueError) as error:
            said = f"expected to bring it to its end, got {error}"
        if said is not None:
            told.append(f"build {record.id}: {said}")
    return told


def refuse_rewound(state: Path, settings: Settings) -> None:
    """:raises SettingsError: when a record knows an entry that the ledger does not hold any more.

    Somebody put an older ledger in its place: what would be appended now would contradict what was shown.
    """
    try:
        # Entries, not the checkpoint: death between the two leaves an entry that the next append covers.
        size = len(open_ledger(settings, state).leaves())
    except ProofError:
        return  # a ledger that does not hold is told, and appended to by nobody
    for file in sorted((state / "builds").glob("*/ledger-index")):
        text = file.read_text(encoding="ascii").strip()
        if text.isdigit() and int(text) >= size:
            raise SettingsError(
                f"{state / 'ledger'}: expected entry {text}, as which build {file.parent.name} was recorded, got a "
                f"ledger of {size} entries: it was rewound; put the newest ledger back (docs/operations.md, Restore)"
            )


def _end(record: BuildRecord, settings: Settings, state: Path) -> str | None:
    """Bring one build to its end; None where it was there already."""
    if not record.file("request.json").exists():
        # It was never asked for: the request is the last file that the pin step writes.
        record.file("seal.key").unlink(missing_ok=True)
        return None
    if not record.judged:
        record.close(decide(_nobody_answered(record, settings)))
        return f"abandoned; entry {enter(record, settings, state)} of the ledger says so"
    # The key goes after the verdict is written: death between the two leaves it.
    record.file("seal.key").unlink(missing_ok=True)
    if record.file("ledger-index").exists():
        return None
    index = enter(record, settings, state)
    if not all((h.problem or "").endswith(ABANDONED) for h in record.verdict.hosts):
        BuildStore(state).note(record.request.ref, {"build": record.id, "ledger": index})
    return f"its verdict is recorded as entry {index} of the ledger"


def _nobody_answered(record: BuildRecord, settings: Settings) -> Case:
    """The case of a build that nobody will judge any more."""
    hosts = sorted(record.request.nonces)
    return case_of(record, settings, tuple(Submission(host, None, problem=ABANDONED, ours=True) for host in hosts))
