"""Why a build by derivative-maker failed, read from its log: each known way has a name and says what to do.

Rules:

- A lookup in a table: the log decides what is said, never whether the build failed (that is the exit code's).
- The row that stands first in the table wins, because a later message is often an earlier one's consequence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LOG_BYTES = 4 * 1024 * 1024
"""Of a longer log the end is looked at."""


@dataclass(frozen=True)
class Failure:
    """One known way to fail."""

    name: str
    meaning: str
    said: str


_TABLE = (
    ("root", r"This must NOT be run as root", "derivative-maker ran as root; the recipe starts it as the user `user`"),
    (
        "sudo",
        r"sudo: a (?:terminal|password) is required",
        "`user` needs sudo without a password in the image",
    ),
    ("host-name", r"sudo: unable to resolve host .*", "the container's host name is not in its /etc/hosts"),
    (
        "wrong-codename",
        r"Wrong operating system!",
        "the builder image is of another release than SUITE in config/snapshot-pin.env",
    ),
    ("bad-flag", r"unknown option \([12]\): .*", "this tag does not know an option of our call; mend the tag's entry"),
    ("missing-freedom", r"you must select firmware", "the call has no --freedom; DERIVATIVE_FREEDOM is missing"),
    ("bad-value", r"ERROR: supported options for --[a-z-]+ are .*", "this tag does not take a value of our call"),
    ("not-implemented", r"Using frozen sources is currently not implemented", "this tag cannot do --freshness frozen"),
    (
        "dirty-tree",
        r"[Uu]ncommitted changes?.*",
        "derivative-maker's tree is not what its commit says; check it out anew",
    ),
    ("missing-tool", r"^.*: command not found$|missing-tool: .*", "the builder image lacks a program"),
    (
        "signature",
        r"(?:sq-git|git_sanity_test)\b.*(?:fail|error|not).*",
        "upstream's own check of signatures refused the tree",
    ),
    ("reprepro", r"reprepro-refused: .*", "reprepro failed in a way that is not the harmless lack of a Priority"),
    (
        "prompt",
        r"/dev/tty: No such device or address|prompt: .*",
        "derivative-maker asked a question and there is nobody to answer; an error came before it",
    ),
    ("swallowed", r"swallowed: .*", "derivative-maker hid a failure behind the exit code 0"),
    ("disk-full", r"No space left on device", "the disk of the engine is full"),
)
_COMPILED = tuple((name, re.compile(form, re.MULTILINE), meaning) for name, form, meaning in _TABLE)


def explain(log: bytes) -> Failure | None:
    """What the log says of the failure; None when it says nothing that is known."""
    text = log[-MAX_LOG_BYTES:].decode("utf-8", "replace")
    for name, form, meaning in _COMPILED:
        match = form.search(text)
        if match is not None:
            return Failure(name, meaning, match[0].strip()[:200])
    return None
