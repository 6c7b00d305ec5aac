"""A statement for people: what a host says it built, from what, and on which machine.

Rules:

- All of it is the host's own text: nothing reaches a terminal that a terminal obeys.
- Hashes are whole: people compare them, and an operator signs one of them (the hardware's).
"""

from __future__ import annotations

from collections.abc import Iterable

from silvermetal_proof.errors import printable
from silvermetal_proof.host.evidence import HostEvidence
from silvermetal_proof.statement.schema import Dependency, Statement

MAX_INPUTS_SHOWN = 12
"""Inputs that are shown by name; a statement may have thousands, which ``--json`` has all."""


def evidence_lines(evidence: HostEvidence) -> list[str]:
    """What a host says of its machine, one fact a line."""
    rows = (
        ("machine-id", evidence.machine_id),
        ("boot-id", evidence.boot_id),
        ("hardware (dmi)", evidence.dmi or "none: the machine tells no product UUID, so I2 at most"),
        ("kernel", f"{evidence.kernel.release} {evidence.kernel.machine}, {evidence.kernel.version}"),
        ("processor", f"{evidence.cpu.count} x {evidence.cpu.model}"),
        ("virtualisation", evidence.virtualisation),
        ("engine", f"{evidence.engine.name} {evidence.engine.version}, id {evidence.engine.id or 'none'}"),
        ("booted", evidence.boot_time),
        ("built", f"{evidence.started} to {evidence.finished}"),
    )
    return [f"    {name:<17}{printable(value, 1000)}" for name, value in rows]


def _input(dependency: Dependency) -> str:
    digest = dependency.digest
    found = "" if digest is None else digest.sha256 or digest.git_commit or ""
    return printable(" ".join(x for x in (dependency.name, dependency.version or "", found) if x), 1000)


def _inputs(dependencies: Iterable[Dependency]) -> list[str]:
    # What is no package comes first: commit, image and lock say more than any one of a thousand packages.
    ordered = sorted(dependencies, key=lambda d: d.name.startswith("package "))
    lines = [f"    {_input(d)}" for d in ordered[:MAX_INPUTS_SHOWN]]
    more = len(ordered) - MAX_INPUTS_SHOWN
    return [*lines, f"    and {more} more (--json has all)"] if more > 0 else lines


def render(statement: Statement) -> str:
    """Return the statement as lines of text, ending in a newline."""
    predicate, external = statement.predicate, statement.external
    artefact = predicate.artefact
    lines = [
        f"statement of host {predicate.host}, worker {printable(statement.worker, 200)}, "
        f"build {predicate.run_details.metadata.invocation_id}",
        f"  {printable(external.repository, 1000)}",
        f"  ref {printable(external.ref, 1000)}, commit {external.commit}, recipe {external.recipe}",
        f"  pins {statement.internal.pins}",
        f"  ISO {printable(statement.subject[0].name, 300)}, {artefact.size} bytes, "
        f"{'ISO9660' if artefact.iso9660 else 'NO ISO9660'}, {'bootable' if artefact.bootable else 'NOT bootable'}",
        f"    sha256:{statement.iso_sha256}",
        f"    keyed by its nonce sha256:{predicate.keyed_digest}",
        "  the machine, by the host's own word",
        *evidence_lines(predicate.evidence),
        f"  inputs, {len(predicate.build_definition.resolved_dependencies)}",
        *_inputs(predicate.build_definition.resolved_dependencies),
    ]
    lines += [f"  also made: {b.name} sha256:{b.digest.sha256}" for b in predicate.run_details.byproducts]
    return "\n".join(lines) + "\n"
