"""The diagnosis as one HTML page that needs nothing else and fits a phone.

Rules:
- No script, no font, no picture, no address outside the page; everything from an image is escaped.
- Remedies stand first; long values wrap inside their box, never the page.
"""

from __future__ import annotations

import re
from html import escape
from importlib import resources

from ..compare import Difference
from ..diagnosis import UNKNOWN, Diagnosis, Task

SHOWN = 25


def _text(value: object, width: int = 600) -> str:
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))
    return escape(shown if len(shown) <= width else shown[: width - 1] + "…")


# `quoted`, an option or a $VARIABLE: what a person types and a line must not break within.
TYPED = re.compile(r"`([^`]+)`|(?<![\w/*-])(--?[A-Za-z][\w-]*(?:=\S*[\w>])?|@?\$?[A-Z]+_[A-Z_]+(?:=\w+)?)(?![\w-])")


def _prose(text: str) -> str:
    """A sentence of the catalogue, with what is typed set apart."""
    return TYPED.sub(lambda m: f"<code>{m[1] or m[2]}</code>", _text(text, 2000))


def render(diagnosis: Diagnosis) -> str:
    """The whole page."""
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    state = "same" if diagnosis.same else "differ"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(diagnosis.name_a)} and {_text(diagnosis.name_b)}: {state}</title>",
        f"<style>{style}</style></head><body><main>",
        f'<header class="{state}"><p class="verdict">{"Identical" if diagnosis.same else "Different"}</p>',
        f"<h1>{_text(diagnosis.summary, 1200)}</h1>",
        _identities(diagnosis),
        "</header>",
    ]
    if diagnosis.todo:
        parts.append("<h2>What to do, in this order</h2><ol class=todo>")
        parts.extend(_task(number, task) for number, task in enumerate(diagnosis.todo, 1))
        parts.append("</ol><h2>What differs</h2>")
        parts.extend(_group(number, task, diagnosis) for number, task in enumerate(diagnosis.todo, 1))
    if diagnosis.comparison.follows:
        count = len(diagnosis.comparison.follows)
        parts.append(f"<p class=note>{count} positions, sizes and checksums differ because of the above.</p>")
    if diagnosis.comparison.truncated:
        parts.append("<p class=note>There are more differences than a report holds; the first ones are shown.</p>")
    parts.extend(f"<p class=note>{_text(note, 2000)}</p>" for note in diagnosis.notes)
    parts.append("</main></body></html>\n")
    return "\n".join(parts)


def _identities(diagnosis: Diagnosis) -> str:
    rows = []
    for letter, name, identity in (
        ("A", diagnosis.name_a, diagnosis.identity_a),
        ("B", diagnosis.name_b, diagnosis.identity_b),
    ):
        facts = [f"{identity['size']:,} bytes".replace(",", "\u202f")] if isinstance(identity.get("size"), int) else []
        if identity.get("sha256"):
            facts.append(f"sha256 <code>{_text(identity['sha256'])}</code>")
        rows.append(f"<div class={letter.lower()}><dt>{letter}: {_text(name)}</dt><dd>{', '.join(facts)}</dd></div>")
    return f"<dl class=identity>{''.join(rows)}</dl>"


def _task(number: int, task: Task) -> str:
    kind = ' class="unknown"' if task.cause == UNKNOWN else ""
    return (
        f'<li{kind}><a href="#cause-{number}"><b>{_text(task.title)}</b></a>'
        f"<span class=clears>clears {task.clears}</span><p>{_prose(task.remedy)}</p></li>"
    )


def _group(number: int, task: Task, diagnosis: Diagnosis) -> str:
    members = [d for d in diagnosis.comparison.differences if d.cause == task.cause and d.title == task.title]
    head = f'<section id="cause-{number}"><h3>{number}. {_text(task.title)}</h3><p class=why>{_prose(task.why)}'
    head += f" <span class=source>{_text(task.source)}</span></p>" if task.source else "</p>"
    rows = "".join(_difference(d) for d in members[:SHOWN])
    more = f"<p class=note>… and {len(members) - SHOWN} more like these.</p>" if len(members) > SHOWN else ""
    return f"{head}{rows}{more}</section>"


def _difference(d: Difference) -> str:
    at = f" <span class=at>byte {d.offset}</span>" if d.offset is not None else ""
    text = f"<article><h4><code>{_text(d.layer_path)}</code> <span class=what>{_text(d.what)}</span>{at}</h4>"
    if d.a != d.b:
        text += f"<div class=values><div class=a><i>A</i><code>{_text(d.a)}</code></div><div class=b><i>B</i><code>{_text(d.b)}</code></div></div>"  # noqa: E501
    lines = [line for line in d.evidence if line[1:] not in (d.a, d.b)]
    if lines:
        shown = "\n".join(_text(line, 300) for line in lines)
        # Where no pair of values says it, the evidence is all there is to see.
        text += f"<details{' open' if d.a == d.b else ''}><summary>evidence</summary><pre>{shown}</pre></details>"
    return text + "</article>"
