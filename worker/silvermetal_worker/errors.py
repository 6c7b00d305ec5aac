"""What a worker's command may end with.

Rules:

- One exit code a kind of end, the same as ``scripts/build.sh`` has; the message says got, expected and what to do.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_BUILD_FAILED = 3
EXIT_PIN_REFUSED = 4
EXIT_HOST_NOT_READY = 5
EXIT_FINDINGS = 6
"""The audit found something, and the recipe's policy is to warn."""
EXIT_REGISTRY = 7
"""A registry did not answer or refused: the service's trouble, not the commit's."""
EXIT_TIMEOUT = 124


class WorkerError(Exception):
    """A worker's command cannot go on; ``code`` is its exit code."""

    def __init__(self, message: str, code: int = EXIT_BUILD_FAILED) -> None:
        super().__init__(message)
        self.code = code
