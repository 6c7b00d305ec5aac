"""``silvermetal``: the commands that anyone can run, without Buildbot.

Rules:

- Other packages add their commands by the entry point group ``silvermetal.commands``; one that cannot be loaded is
  named when it is asked for and hinders no other.
- Exit codes are documented in ``silvermetal --help`` and the same for every command of this package.
"""

from silvermetal_proof.cli.main import main

__all__ = ["main"]
