"""Why two hosts differ: is it chance, a planned factor, or the host? Which builds tell, and what they told."""

from silvermetal_proof.attribution.records import ENVIRONMENT, Ask, Conclusion, Finding, Inquiry, Kind, Question, Tried
from silvermetal_proof.attribution.report import describe, page, summary
from silvermetal_proof.attribution.search import next_step, stopped

__all__ = [
    "ENVIRONMENT",
    "Ask",
    "Conclusion",
    "Finding",
    "Inquiry",
    "Kind",
    "Question",
    "Tried",
    "describe",
    "next_step",
    "page",
    "stopped",
    "summary",
]
