"""`SHA256SUMS` of a whole folder: `sha256sum -c` and `silvermetal verify` then see what is missing or another one.

- The image comes first: its line is the one that people compare.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

NAME = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """One line a file below `folder`, in place of the list that one build left of its own image."""
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    lines = []
    for path in sorted(files, key=lambda path: (path.parent != folder or path.suffix != ".iso", path)):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder)}\n")
    temporary = folder / f".{NAME}.part"
    temporary.write_text("".join(lines))
    temporary.replace(folder / NAME)
