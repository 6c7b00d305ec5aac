"""Input drift: did the hosts build from the same inputs, and from those that the pins name?

Rules:

- Inputs are compared before bytes: where they differ, different bytes say nothing about the recipe.
- Each input has a name that people know (``package bash``, ``BUILD_INFO MKSQUASHFS_OPTIONS``), and each host's
  value is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from silvermetal_proof.errors import printable
from silvermetal_proof.statement.schema import Dependency, Statement

ABSENT = "(absent)"


@dataclass(frozen=True)
class Drift:
    """One input that differs. ``values`` maps host to value, ``expected`` is what the pins say or None."""

    name: str
    expected: str | None
    values: Mapping[str, str]


def _value(dependency: Dependency) -> str:
    digest = dependency.digest
    parts = [dependency.version, digest and digest.sha256 and f"sha256:{digest.sha256}", digest and digest.git_commit]
    return " ".join(p for p in parts if p) or ABSENT


def inputs_of(statement: Statement) -> dict[str, str]:
    """Every input of a build by name, as the worker read it back."""
    inputs = {d.name: _value(d) for d in statement.predicate.build_definition.resolved_dependencies}
    for key, value in statement.internal.build_info.items():
        inputs[f"BUILD_INFO {key}"] = value
    return inputs


def drift(statements: Mapping[str, Statement], expected: Mapping[str, str]) -> tuple[Drift, ...]:
    """Return every input in which the hosts differ, from one another or from ``expected``; by name."""
    inputs = {host: inputs_of(statement) for host, statement in statements.items()}
    names = {name for found in inputs.values() for name in found} | set(expected)
    drifted = []
    for name in sorted(names):
        values = {host: found.get(name, ABSENT) for host, found in sorted(inputs.items())}
        wanted = expected.get(name)
        seen = set(values.values()) | ({wanted} if wanted is not None else set())
        if len(seen) > 1:
            drifted.append(
                Drift(
                    printable(name),
                    None if wanted is None else printable(wanted),
                    {host: printable(value) for host, value in values.items()},
                )
            )
    return tuple(drifted)
