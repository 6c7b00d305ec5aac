"""What can go wrong in the demo, by who is to act.

- `SetupFailed`: this machine or this checkout is not fit, or a part did not start: exit code 3, one sentence, no
  traceback.
- `Interrupted`: the user (or a TERM) asked to stop: exit code 130 after cleaning up.
"""

from __future__ import annotations


class SetupFailed(Exception):
    """Says got and expected and what to do."""


class Interrupted(Exception):
    """Raised at the next check after SIGINT, SIGTERM or SIGHUP."""
