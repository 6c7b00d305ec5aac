"""The bytes of a differing file on both sides, as far as they can be had.

Rules:
- The beginning of a file, as it tells the kind; of a file that is longer than the part that is looked at, and that
  begins alike, the part from where it differs.
- Of a manifest only the pieces that came along, and only where both sides sent the same part of the file.
"""

from __future__ import annotations

from .compare import Difference
from .errors import ExplainError
from .excerpts import CONTEXT, Piece
from .image.source import first_difference
from .recorded import Recorded


def contents(difference: Difference, limit: int) -> tuple[Piece, Piece] | None:
    """A piece of a differing file on both sides, where it can be had: its beginning, or from where it differs."""
    if difference.layers is None or difference.entries is None:
        return None
    (a, b), (x, y) = difference.layers, difference.entries
    try:
        if isinstance(a, Recorded) and isinstance(b, Recorded):
            found = a.piece(x), b.piece(y)
            return found if found[0].at == found[1].at else None
        one, two = a.open(x), b.open(y)
        at = 0
        if min(one.size, two.size) > limit:
            difference.differs_from = first_difference(one, two)
            at = max(0, difference.differs_from - CONTEXT) if difference.differs_from >= limit else 0
        return (
            Piece(at, one.read(at, min(one.size - at, limit))),
            Piece(at, two.read(at, min(two.size - at, limit))),
        )
    except ExplainError:
        return None
