"""How far a command is in a large file: a bar on standard error, for people at a terminal alone.

Rules:

- Nothing where standard error is no terminal, and nothing beside ``--json``: programs read no bars.
- Small files come and go without one. The bar is gone when the command speaks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from silvermetal_proof.errors import printable

LARGE = 16 * 1024 * 1024
"""Bytes from which a file gets a bar: less is read before anyone looks."""

Told = Callable[[int], None]
"""Called with the bytes of one file that are read so far."""
Watch = Callable[[Path], Told]
"""Called with a file that will be read; gives what is to be told of it."""


def silent(_path: Path) -> Told:
    """Watches nothing."""
    return lambda _bytes: None


@contextmanager
def watching(*, as_json: bool) -> Iterator[Watch]:
    """What a command tells of the files that it reads, as far as somebody looks."""
    if as_json or not sys.stderr.isatty():
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def watch(path: Path) -> Told:
            size = path.stat().st_size
            if size < LARGE:
                return silent(path)
            bar = bars.add_task(escape(printable(path.name)), total=size)
            return lambda done: bars.update(bar, completed=done, visible=done < size)

        yield watch
