"""The diagnosis on a terminal.

Rules:
- Remedies first, then what differs, grouped by cause; at most a screen per cause, the rest is counted.
- What an image holds is printed escaped: no control character of it reaches the terminal.
"""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from ..compare import Difference
from ..diagnosis import UNKNOWN, Diagnosis

SHOWN = 8


def clean(text: str, width: int = 200) -> str:
    """Printable, on one line, bounded."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return escape(shown if len(shown) <= width else shown[: width - 1] + "…")


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print it."""
    a, b = clean(diagnosis.name_a), clean(diagnosis.name_b)
    colour = "green" if diagnosis.same else "red"
    console.print(f"[bold {colour}]{clean(diagnosis.summary, 600)}[/]")
    if diagnosis.same:
        return
    console.print(f"A = {a}   B = {b}", style="dim")
    for number, task in enumerate(diagnosis.todo, 1):
        style = "yellow" if task.cause == UNKNOWN else "cyan"
        console.print(f"\n[bold {style}]{number}. {clean(task.title)}[/] [dim]({task.cause}, clears {task.clears})[/]")
        console.print(Padding(f"[bold]Do:[/] {clean(task.remedy, 900)}", (0, 0, 0, 3)))
        if task.why and task.cause != UNKNOWN:
            console.print(Padding(f"[dim]{clean(task.why, 900)}[/]", (0, 0, 0, 3)))
        members = [d for d in diagnosis.comparison.differences if d.cause == task.cause and d.title == task.title]
        for d in members[:SHOWN]:
            _difference(d, console)
        if len(members) > SHOWN:
            console.print(f"   … and {len(members) - SHOWN} more like these", style="dim")
    if diagnosis.comparison.follows:
        console.print(
            f"\n{len(diagnosis.comparison.follows)} positions, sizes and checksums differ because of the above.",
            style="dim",
        )
    for note in diagnosis.notes:
        console.print(clean(note, 600), style="dim")


def _difference(d: Difference, console: Console) -> None:
    at = f" [dim]at byte {d.offset}[/]" if d.offset is not None else ""
    console.print(f"   • {clean(d.layer_path)} [bold]{clean(d.what)}[/]{at}")
    if d.a != d.b:
        console.print(f"       A {clean(d.a)}\n       B {clean(d.b)}")
    for line in d.evidence[:4] if d.what != "content" or d.a == d.b else []:
        console.print(f"       {clean(line)}", style="dim")
