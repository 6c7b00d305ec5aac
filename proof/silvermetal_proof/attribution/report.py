"""An attribution for people: lines for a terminal, and a page that needs nothing else.

Rules:

- The conclusion stands first; then what it cost; then the factors, and each build that was made, so that anyone can
  follow it. Nothing in it can be taken for a verdict.
- Everything from a host or a recipe is escaped and bounded.
"""

from __future__ import annotations

from html import escape

from silvermetal_proof.attribution.records import ENVIRONMENT, Conclusion, Finding, Inquiry, Kind, Question
from silvermetal_proof.errors import printable
from silvermetal_proof.variation import MEANINGS

MAX_SHOWN = 500
_STYLE = (
    ":root{color-scheme:light dark}body{margin:0 auto;max-width:56rem;padding:1rem;font:16px/1.5 system-ui,sans-serif}"
    "h1{font-size:1.2rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin-top:1.6rem}code{overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;vertical-align:top;"
    "padding:.25rem .5rem .25rem 0;border-top:1px solid #8885;overflow-wrap:anywhere}.note{opacity:.75}"
)


def _meaning(factor: str, question: Question) -> str:
    if factor == ENVIRONMENT:
        return f"the host itself ({question.other} instead of {question.reference})"
    reference, other = (getattr(plan, factor, None) for plan in question.plans)
    shown = [("as it is" if value is None else str(value)) for value in (reference, other)]
    if question.reference == question.other:
        return f"{MEANINGS.get(factor, factor)} ({shown[0]} or {shown[1]})"
    return f"{MEANINGS.get(factor, factor)} ({question.reference}: {shown[0]}, {question.other}: {shown[1]})"


def _finding(finding: Finding, question: Question) -> str:
    text = " together with ".join(_meaning(f, question) for f in finding.factors)
    if finding.flaky and finding.seen is not None:
        text += f", not always: in {finding.seen[0]} of {finding.seen[1]} builds"
    elif len(finding.factors) > 1:
        text += ", and none of them without the others"
    return text


def summary(inquiry: Inquiry, conclusion: Conclusion) -> str:
    """The conclusion in one sentence."""
    question = inquiry.question
    hosts = " and ".join(dict.fromkeys((question.reference, question.other)))
    cost = f"{conclusion.builds} builds, {conclusion.seconds} s"
    found = "; ".join(_finding(f, question) for f in conclusion.findings)
    if conclusion.kind is Kind.NONDETERMINISM:
        unstable = " and ".join(conclusion.unstable) or hosts
        text = f"chance decides: {unstable} did not build the same bytes twice, so no factor is to blame"
    elif conclusion.kind is Kind.OPEN:
        text = "not known: " + conclusion.why
        text += f"; proven so far: {found}" if found else ""
    elif conclusion.kind is Kind.ENVIRONMENT:
        text = f"the environment of the host decides, by something that is no planned factor: {found}"
    elif conclusion.kind is Kind.BOTH:
        text = f"planned factors decide and the environment of the host, too: {found}"
    else:
        text = f"decided by {found}"
    return f"{text} ({cost})"


def _notes(inquiry: Inquiry, conclusion: Conclusion) -> list[str]:
    question = inquiry.question
    notes = []
    if conclusion.suspects:
        notes.append("still suspected: " + "; ".join(_meaning(f, question) for f in conclusion.suspects))
    if conclusion.cleared:
        notes.append("without effect: " + "; ".join(_meaning(f, question) for f in conclusion.cleared))
    if conclusion.unstable and conclusion.kind is not Kind.NONDETERMINISM:
        notes.append(f"{' and '.join(conclusion.unstable)} did not build the same bytes each time")
    if conclusion.why and conclusion.kind is not Kind.OPEN:
        notes.append(f"not looked at any more, because {conclusion.why}")
    notes.append(
        f"cost: {conclusion.builds} builds of {question.budget} allowed, {conclusion.seconds} s of building; "
        "these builds are evidence for this alone and never for a verdict"
    )
    return notes


def _labels(inquiry: Inquiry) -> dict[str, str]:
    """Digest to a letter: readers compare letters."""
    digests = [*inquiry.question.digests, *(t.digest for t in inquiry.tried if t.digest is not None)]
    return {digest: f"#{number}" for number, digest in enumerate(dict.fromkeys(digests), 1)}


def _rows(inquiry: Inquiry) -> list[tuple[str, str, str, str]]:
    """One row a build: host, variation, result, seconds."""
    question, labels = inquiry.question, _labels(inquiry)
    rows = [
        (host, " ".join(plan.arguments) or "as it is", f"bytes {labels[digest]} (the verification)", "")
        for host, plan, digest in zip(
            (question.reference, question.other), question.plans, question.digests, strict=True
        )
    ]
    for tried in inquiry.tried[:MAX_SHOWN]:
        factors = frozenset(tried.factors)
        result = (
            f"bytes {labels[tried.digest]}" if tried.digest else f"no result: {printable(tried.problem or '', 300)}"
        )
        varied = " ".join(question.variation_of(factors).arguments) or "as it is"
        rows.append((question.host_of(factors), varied, result, f"{tried.seconds} s"))
    return rows


def describe(inquiry: Inquiry, conclusion: Conclusion) -> str:
    """Lines for a terminal or a log, ending in a newline."""
    lines = [f"{conclusion.kind}: {summary(inquiry, conclusion)}"]
    lines += [f"  - {note}" for note in _notes(inquiry, conclusion)]
    for number, (host, varied, result, seconds) in enumerate(_rows(inquiry), -1):
        name = f"build {number}" if number > 0 else "before"
        lines.append(f"  {name}: {host}, {varied}: {result}{', ' + seconds if seconds else ''}")
    return "\n".join(lines) + "\n"


def page(inquiry: Inquiry, conclusion: Conclusion) -> str:
    """The same as one HTML page."""

    def text(value: str) -> str:
        return escape(printable(value, 2000))

    cells = ("host", "variation", "result", "time")
    rows = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in _rows(inquiry))
    notes = "".join(f"<p class=note>{text(note)}</p>" for note in _notes(inquiry, conclusion))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Attribution: {conclusion.kind}</title><style>{_STYLE}</style></head><body>"
        f"<p><b>{conclusion.kind}</b></p><h1>{text(summary(inquiry, conclusion))}</h1>{notes}"
        f"<h2>Builds</h2><table><tr>{''.join(f'<th>{c}</th>' for c in cells)}</tr>{rows}</table></body></html>\n"
    )
