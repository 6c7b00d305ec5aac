"""Submodules: which commits a tree names, and whether a checkout is at them.

Sources: git-ls-tree(1) ``-z``, git-submodule(1) ``status``, gitmodules(5).

Rules:

- Every gitlink has one declared address and every address a gitlink; a path stays below the tree.
- A checkout counts only when every submodule that it should have is there, at its gitlink and unconflicted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from silvermetal_proof.errors import MalformedError

PATH = "derivative-maker"
"""Where upstream's tree lies in ours."""
MAX_SUBMODULES = 1000
_ENTRY = re.compile(r"\A(?P<mode>[0-7]{6}) (?P<kind>\w+) (?P<object>[0-9a-f]{40})\t(?P<path>.+)\Z")
_SAFE = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*\Z")
_STATUS = re.compile(r"\A(?P<mark>[ +U-])(?P<commit>[0-9a-f]{40}) (?P<path>[^ ]+)( \(.*\))?\Z")
_MEANINGS = {"+": "another commit is checked out", "-": "it is not fetched", "U": "it has conflicts"}


def gitlinks(listing: bytes, below: str = "") -> dict[str, str]:
    """Path to commit of every gitlink in ``git ls-tree -r -z``. :raises MalformedError: at what git never writes."""
    found = {}
    for line in listing.decode("utf-8", "replace").split("\0"):
        match = _ENTRY.match(line)
        if line and match is None:
            raise MalformedError("listing of a tree", expected="MODE KIND OBJECT<tab>PATH", got=line)
        if match is None or match["mode"] != "160000":
            continue
        path = f"{below}/{match['path']}" if below else match["path"]
        if not _SAFE.match(path):
            raise MalformedError("path of a submodule", expected="plain names below the tree", got=path)
        found[path] = match["object"]
    if len(found) > MAX_SUBMODULES:
        raise MalformedError("submodules", expected=f"at most {MAX_SUBMODULES}", got=len(found))
    return found


def declared(text: bytes) -> dict[str, str]:
    """Path to address of each section in ``git config --blob … --null --list``. :raises MalformedError: at half one."""
    sections: dict[str, dict[str, str]] = {}
    for entry in text.decode("utf-8", "replace").split("\0"):
        key, _, value = entry.partition("\n")
        head, _, tail = key.partition(".")
        name, _, last = tail.rpartition(".")
        if head == "submodule" and last in ("path", "url"):
            sections.setdefault(name, {})[last] = value
    found: dict[str, str] = {}
    for name, section in sections.items():
        if set(section) != {"path", "url"}:
            raise MalformedError(f".gitmodules: {name}", expected="path and url", got=", ".join(sorted(section)))
        if section["path"] in found:
            raise MalformedError(f".gitmodules: {section['path']}", expected="one section", got="two")
        found[section["path"]] = section["url"]
    return found


def check_declared(links: Mapping[str, str], sections: Mapping[str, str], what: str) -> None:
    """:raises MalformedError: at a gitlink that nobody declares, or a declared path that is no gitlink."""
    for path in sorted(set(links) ^ set(sections)):
        raise MalformedError(
            f"{what}: {path}",
            expected="a gitlink and a section of .gitmodules for each submodule",
            got="a gitlink alone" if path in links else "a section alone",
        )


def check_status(status: str, expected: Mapping[str, str] | None = None) -> dict[str, str]:
    """Path to commit of ``git submodule status --recursive``.

    ``expected`` are the gitlinks that must be among them, as far as the caller knows them.
    :raises MalformedError: at the first submodule that is not at its gitlink.
    """
    found = {}
    for line in status.splitlines():
        match = _STATUS.match(line)
        if match is None:
            raise MalformedError("status of a submodule", expected="MARK COMMIT PATH", got=line)
        if match["mark"] != " ":
            raise MalformedError(
                f"submodule {match['path']}",
                expected="its gitlink's commit checked out; `git submodule update --init --recursive` does it",
                got=f"{_MEANINGS[match['mark']]} ({match['commit']})",
            )
        found[match["path"]] = match["commit"]
    for path, commit in (expected or {}).items():
        if found.get(path) != commit:
            raise MalformedError(f"submodule {path}", expected=commit, got=found.get(path, "no such submodule"))
    return found
