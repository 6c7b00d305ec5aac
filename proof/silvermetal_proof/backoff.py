"""How long to wait before something that failed is tried again.

Rules:

- Doubles from ``first`` and never grows beyond ``most``; nothing random: one master has nobody to collide with.
"""

from __future__ import annotations


def backoff(failures: int, *, first: int, most: int) -> int:
    """Seconds to wait after ``failures`` failures in a row (1 or more); 0 after none."""
    if failures <= 0:
        return 0
    return min(most, first << min(failures - 1, 32))
