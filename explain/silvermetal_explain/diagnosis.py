"""From differences to causes and an ordered list of what to do.

Rules:
- The list is ordered by what each remedy clears; unknown causes come last and say how they look.
- The words are for a person who did not write the recipe; the same diagnosis feeds every report.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from .causes import cause_of
from .compare import CONTENT, Comparison, Difference
from .content import examine
from .evidence import contents
from .limits import Limits

EXAMINED = 400  # files looked into; beyond that the catalogue goes by path alone
UNKNOWN = "unknown"


@dataclass
class Task:
    """One thing to do, and what it clears."""

    cause: str
    title: str
    why: str
    remedy: str
    source: str
    clears: int
    examples: list[str] = field(default_factory=list)


@dataclass
class Diagnosis:
    """All that a report shows."""

    name_a: str
    name_b: str
    identity_a: dict[str, object]
    identity_b: dict[str, object]
    comparison: Comparison
    todo: list[Task]
    summary: str
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether the two images hold the same bytes."""
        return not self.comparison.differences and not self.comparison.follows


def diagnose(
    comparison: Comparison,
    names: tuple[str, str],
    identities: tuple[dict[str, object], dict[str, object]],
    limits: Limits,
    hosts: tuple[str, str] = ("", ""),
) -> Diagnosis:
    """Look into every differing file, match every difference, order the remedies."""
    examined = 0
    for d in comparison.differences:
        if d.what == CONTENT and examined < EXAMINED:
            pair = contents(d, limits.text)
            if pair is not None:
                examined += 1
                d.shape, d.evidence = examine(pair[0].data, pair[1].data, limits.text, *hosts)
                if pair[0].at:
                    d.evidence.insert(0, f"looked at from byte {pair[0].at} on; positions below count from there")
                d.a, d.b = _values(d)
        elif d.kind in ("text", "bytes", "uuid", "date") and hosts[0] and (hosts[0] in d.a or hosts[1] in d.b):
            d.shape = "host name"
        cause = cause_of(d)
        if cause:
            d.cause, d.title, d.remedy = cause.id, cause.title, cause.remedy
        else:
            d.cause, d.title = UNKNOWN, f"not in the catalogue; it looks like: {d.shape or d.kind}"
            d.remedy = f"look at {d.layer_path} ({d.what}) below; add its cause to the catalogue when it is found"
    todo = _todo(comparison.differences)
    return Diagnosis(*names, *identities, comparison, todo, _summary(comparison, todo))


def _values(d: Difference) -> tuple[str, str]:
    """The first differing line of each side says more than a size."""
    minus = next((x[1:] for x in d.evidence if x.startswith("-")), None)
    plus = next((x[1:] for x in d.evidence if x.startswith("+")), None)
    return (minus if minus is not None else d.a, plus if plus is not None else d.b)


def _todo(differences: list[Difference]) -> list[Task]:
    groups: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for d in differences:
        groups[d.cause, d.title if d.cause == UNKNOWN else ""].append(d)
    tasks = []
    for (cause, _), members in groups.items():
        entry = cause_of(members[0])
        examples = list(dict.fromkeys(_label(d) for d in members))[:5]
        why, source = (entry.cause, entry.source) if entry else ("No entry of the catalogue fits.", "")
        tasks.append(Task(cause, members[0].title, why, members[0].remedy, source, len(members), examples))
    return sorted(tasks, key=lambda t: (t.cause == UNKNOWN, -t.clears, t.cause))


def _label(d: Difference) -> str:
    return d.layer_path if d.what == CONTENT else f"{d.layer_path}: {d.what}"


def _summary(comparison: Comparison, todo: list[Task]) -> str:
    if not comparison.differences:
        return "The two images are the same."
    files = list(dict.fromkeys(d.layer_path for d in comparison.differences if d.what in (CONTENT, "file")))
    fields = len(comparison.differences) - sum(d.what in (CONTENT, "file") for d in comparison.differences)
    parts = []
    if files:
        named = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        parts.append(f"{_count(len(files), 'file')} ({named})")
    if fields:
        parts.append(f"{_count(fields, 'field or attribute', 'fields or attributes')}")
    known = sum(t.cause != UNKNOWN for t in todo)
    unknown = sum(t.clears for t in todo if t.cause == UNKNOWN)
    text = f"The images differ in {' and '.join(parts)}: {_count(known, 'known cause')}"
    return text + (f", {_count(unknown, 'difference')} of unknown cause." if unknown else ".")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
