"""The diagnosis as JSON.

Rules:
- `version` changes when a key changes its meaning; keys are only added within a version.
- Everything that differs is in `differences`; what merely follows from it is counted in `follows`, with examples.
"""

from __future__ import annotations

import json
from typing import Any

from ..diagnosis import Diagnosis

VERSION = 1
EXAMPLES = 50


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """version, summary, differences [{layer_path, what, offset?, a, b, cause, remedy, evidence?}], todo."""
    rows = []
    for d in diagnosis.comparison.differences:
        row: dict[str, Any] = {
            "layer_path": d.layer_path,
            "what": d.what,
            "a": d.a,
            "b": d.b,
            "cause": d.cause,
            "title": d.title,
            "remedy": d.remedy,
            "kind": d.kind,
        }
        if d.offset is not None:
            row["offset"] = d.offset
        if d.differs_from is not None:
            row["differs_from"] = d.differs_from
        if d.evidence:
            row["evidence"] = d.evidence
        if d.shape:
            row["shape"] = d.shape
        rows.append(row)
    return {
        "version": VERSION,
        "same": diagnosis.same,
        "summary": diagnosis.summary,
        "a": {"label": diagnosis.name_a, **diagnosis.identity_a},
        "b": {"label": diagnosis.name_b, **diagnosis.identity_b},
        "differences": rows,
        "todo": [
            {
                "remedy": t.remedy,
                "cause": t.cause,
                "title": t.title,
                "why": t.why,
                "clears": t.clears,
                "examples": t.examples,
                "source": t.source,
            }
            for t in diagnosis.todo
        ],
        "follows": {
            "count": len(diagnosis.comparison.follows),
            "examples": [f"{d.layer_path}: {d.what}" for d in diagnosis.comparison.follows[:EXAMPLES]],
        },
        "truncated": diagnosis.comparison.truncated,
        "notes": diagnosis.notes,
    }


def text(diagnosis: Diagnosis) -> str:
    """Sorted, UTF-8, one line end."""
    return json.dumps(document(diagnosis), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
