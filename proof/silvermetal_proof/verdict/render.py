"""A verdict for people: plain text, a few lines a host, the same in terminals, logs and mail.

Rules:

- The outcome comes first; then what was built, then each host, then why. Hashes are whole: people compare them.
"""

from __future__ import annotations

from silvermetal_proof.errors import printable
from silvermetal_proof.host.independence import Level
from silvermetal_proof.verdict.records import HostResult, Verdict


def _host(result: HostResult) -> list[str]:
    time = f" in {result.seconds} s" if result.seconds is not None else ""
    peer = f" from {result.peer}" if result.peer else ""
    if not result.valid:
        return [f"  {result.host}: {result.problem}"]
    # Evidence is the host's own text: it may hold what a terminal obeys (C1 controls, bidi marks, line separators).
    kernel = printable(result.evidence.kernel.release) if result.evidence else "unknown"
    return [
        f"  {result.host}{peer}{time}, kernel {kernel}",
        f"    sha256:{result.iso_sha256}  {result.size} bytes  {result.iso}",
        *([f"    varied on purpose: {' '.join(result.variation.arguments)}"] if result.variation else []),
    ]


def render(verdict: Verdict) -> str:
    """Return the verdict as lines of text, ending in a newline."""
    level = Level(verdict.level)
    lines = [
        f"{verdict.outcome}: {verdict.summary}",
        f"  ref {verdict.ref}, commit {verdict.commit}, recipe {verdict.recipe}",
        f"  independence {level.name} ({level.meaning}), quorum {verdict.policy.quorum}, decided {verdict.decided}",
    ]
    if verdict.tag is not None:
        lines.append(f"  tag object {verdict.tag.object}, {printable(verdict.tag.told, 400)}")
    for result in verdict.hosts:
        lines += _host(result)
    lines += [f"  - {reason}" for reason in verdict.reasons]
    return "\n".join(lines) + "\n"
