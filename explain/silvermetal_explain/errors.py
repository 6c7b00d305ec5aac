"""The two ways in which reading an image may end badly.

Rules:
- An image is hostile input: whatever is wrong with it surfaces as one of these, never as another exception.
- The text says got and expected, and where.
"""

from __future__ import annotations


class ExplainError(Exception):
    """What the command line turns into one line and an exit code."""

    exit_code = 3


class Unreadable(ExplainError):
    """The bytes are not what the format demands."""

    exit_code = 3


class LimitExceeded(ExplainError):
    """Reading on would cost more memory, time or entries than allowed."""

    exit_code = 4
