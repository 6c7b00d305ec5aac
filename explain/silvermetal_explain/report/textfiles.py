"""The diagnosis as text files in a folder, as people know them from a build's artefacts.

Rules:
- summary.txt, todo.txt and differences.txt; an existing file of that name is replaced whole.
"""

from __future__ import annotations

from pathlib import Path

from ..diagnosis import Diagnosis


def write(diagnosis: Diagnosis, folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [
        f"{n}. {t.title} (clears {t.clears})\n   Do: {t.remedy}\n   Why: {t.why}\n"
        for n, t in enumerate(diagnosis.todo, 1)
    ]
    rows = []
    for d in diagnosis.comparison.differences:
        at = f" at byte {d.offset}" if d.offset is not None else ""
        rows.append(
            "\n".join(
                [
                    f"{d.layer_path}: {d.what}{at} [{d.cause}]",
                    f"  A {d.a}",
                    f"  B {d.b}",
                    *(f"  {e}" for e in d.evidence),
                ]
            )
        )
    head = f"A = {diagnosis.name_a}\nB = {diagnosis.name_b}\n{diagnosis.summary}\n"
    for name, text in (
        ("summary.txt", head),
        ("todo.txt", "\n".join(todo)),
        ("differences.txt", "\n".join(rows) + "\n"),
    ):
        clean = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
        (folder / name).write_text(clean, encoding="utf-8", errors="backslashreplace")
