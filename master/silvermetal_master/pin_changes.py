"""Which pins a commit changes, against its first parent; read from the master's mirror, on a thread.

Rules:

- A setting is compared by its key, a lock, a folder or a submodule by Git's object id: no code of the commit runs.
- A file that is no settings file any more is a change, never an error: what it is worth says the pin step.
"""

from __future__ import annotations

from silvermetal_proof import ProofError
from silvermetal_proof.errors import printable
from silvermetal_proof.pins import parse_env
from silvermetal_proof.verdict.verification_log import PinChange

from silvermetal_master.mirror import Mirror

SETTINGS = ("config/builder-image.env", "config/snapshot-pin.env", "config/source-date-epoch.env")
NONE = "none"


def _values(mirror: Mirror, commit: str, path: str) -> dict[str, str]:
    data = mirror.file(commit, path)
    if data is None:
        return {}
    try:
        return {key: setting.value for key, setting in parse_env(data, path).items()}
    except ProofError as error:
        return {"(the file)": printable(str(error), 300)}


def pin_changes(mirror: Mirror, commit: str, recipe: str) -> list[PinChange]:
    """The changes, by name. :raises PinningError: when git does not answer."""
    parent = mirror.parent(commit)
    if parent is None:
        return []
    found: list[PinChange] = []
    for path in (*SETTINGS, f"config/{recipe}.conf"):
        old, new = _values(mirror, parent, path), _values(mirror, commit, path)
        for key in sorted({*old, *new}):
            before, after = old.get(key, NONE) or NONE, new.get(key, NONE) or NONE
            if before != after:
                found.append(PinChange(name=f"{path} {key}", old=printable(before, 1000), new=printable(after, 1000)))
    paths = (f"config/{recipe}.lock", "docker", "derivative-maker")
    was, now = mirror.objects(parent, paths), mirror.objects(commit, paths)
    found += [
        PinChange(name=path, old=was.get(path, NONE), new=now.get(path, NONE))
        for path in paths
        if was.get(path) != now.get(path)
    ]
    return found
