"""What is proven, and how: the pure core of the build master.

Rules:

- No Buildbot, no Twisted, no Docker, no network, no clock: the caller passes the time and the bytes in.
- A decision is a total function of its arguments; bad input ends in a verdict or in a :class:`ProofError`, never in
  another exception.
- Files are touched in three places only: ``digest`` reads a stream, ``ledger.store`` keeps a log, ``cli`` is a command.
"""

from silvermetal_proof.errors import ProofError

__all__ = ["ProofError"]
