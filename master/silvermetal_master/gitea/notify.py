"""A local bare repository speaks as Gitea does: its post-receive hook sends the same signed push events.

Rules:

- One event a ref; the secret is read from a file and is in no argument and no environment.
- The push has happened already: a master that does not answer is said on standard error and by the exit code, and the
  repository stays as it is.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable

from silvermetal_master.gitea.events import signature

TIMEOUT_SECONDS = 15


def event_of(line: str, repository_url: str) -> bytes:
    """The body for one line of post-receive's input: ``<old> <new> <ref>``. :raises ValueError: for another line."""
    old, new, ref = line.split()
    return json.dumps(
        {
            "ref": ref,
            "before": old,
            "after": new,
            "repository": {"clone_url": repository_url},
            "pusher": {"login": "local"},
        }
    ).encode()


def notify(lines: Iterable[str], *, url: str, secret: bytes, repository_url: str) -> list[str]:
    """Send one event a line; return what went wrong, a sentence each."""
    problems = []
    for line in lines:
        body = event_of(line, repository_url)
        request = urllib.request.Request(  # noqa: S310 - the operator's own URL
            url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "X-Gitea-Event": "push",
                "X-Gitea-Signature": signature(secret, body),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
                pass
        except (urllib.error.URLError, OSError) as error:
            problems.append(f"{line.split()[2]}: expected the master's answer from {url}, got {error}")
    return problems
