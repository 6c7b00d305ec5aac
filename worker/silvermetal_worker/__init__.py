"""On a build host: look at the host, run the build, sign the statement.

Rules:

- Buildbot's worker process imports nothing of this package: each piece is a command that it starts. A fault or a leak
  in one build therefore ends with that build, and licences stay apart.
- No secret of the master ever comes here; the host's signing key never leaves it.
"""
