"""The verification log: what a reviewer of a pin change is given. Markdown, from a verdict and what changed.

Rules:

- Made from recorded data alone: the same record gives the same page, whoever makes it.
- It says what the verdict says: a pin change that was not reproduced has a log, too, and it does not read like one that
  was.
- Values come from a repository and from hosts: no markup or control character of theirs acts.
"""

from __future__ import annotations

from collections.abc import Sequence

from silvermetal_proof.errors import printable
from silvermetal_proof.model import Line, Record
from silvermetal_proof.verdict.records import HostResult, Verdict


class PinChange(Record):
    """One pin that the commit changes; ``none`` where there was or is none."""

    name: Line
    old: Line
    new: Line


def _cell(value: object) -> str:
    """One value in a table."""
    said = printable(str(value), 400)
    return "`" + said.replace("`", "'").replace("|", "\\|") + "`" if said else ""


def _row(*cells: object) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _host(host: HostResult) -> str:
    seconds = f"{host.seconds} s" if host.seconds is not None else ""
    said = "valid" if host.valid else host.problem or "not valid"
    return _row(host.host, host.iso_sha256 or "none", host.size or "", seconds, host.statement or "none", said)


def matching_builds(verdict: Verdict) -> int:
    """How many hosts' valid builds have the digest that most of them have."""
    digests = [host.iso_sha256 for host in verdict.hosts if host.valid and host.iso_sha256]
    return max((digests.count(digest) for digest in digests), default=0)


def verification_log(verdict: Verdict, changes: Sequence[PinChange]) -> str:
    """The page. ``changes`` are those of the verdict's commit against its parent."""
    builds = f"{matching_builds(verdict)} matching builds of {len(verdict.hosts)} hosts asked."
    lines = [
        f"# Verification of {_cell(verdict.ref)}",
        "",
        f"**{verdict.outcome}**, independence I{verdict.level}, {builds}"
        + ("" if verdict.passed else " **This change is not verified.**"),
        "",
        "| | |",
        "|---|---|",
        _row("repository", verdict.repository),
        _row("commit", verdict.commit),
        _row("recipe", verdict.recipe),
        _row("pins", verdict.pins),
        _row("build", verdict.build),
        _row("decided", verdict.decided),
        "",
        "## What the commit changes",
        "",
    ]
    if changes:
        lines += ["| pin | old | new |", "|---|---|---|", *(_row(c.name, c.old, c.new) for c in changes)]
    else:
        lines += ["No pin."]
    lines += [
        "",
        "## What the hosts built",
        "",
        "| host | ISO (SHA-256) | bytes | time | statement | |",
        "|---|---|---|---|---|---|",
        *(_host(host) for host in verdict.hosts),
        "",
        "## Why",
        "",
        *(f"- {_cell(reason)}" for reason in (verdict.summary, *verdict.reasons)),
        "",
    ]
    return "\n".join(lines)
