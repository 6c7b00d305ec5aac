"""How a command of the master ends.

Rules:

- A failure is one line on standard error, never a traceback. Exit codes: 0 done, 1 another verdict than REPRODUCED,
  2 usage or settings, 3 no verdict in time, 4 the master did not answer, 5 a ledger that would be rewound.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click
from silvermetal_proof import ProofError

from silvermetal_master.errors import PinningError, SettingsError

EXIT_OTHER_VERDICT = 1
EXIT_SETTINGS = 2
EXIT_NO_VERDICT = 3
EXIT_NO_ANSWER = 4


def ends_cleanly(function: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of a command into its line and exit code."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (SettingsError, PinningError, ProofError, OSError) as error:
            click.echo(f"silvermetal-master: {error}", err=True)
            sys.exit(EXIT_SETTINGS)

    return wrapper
