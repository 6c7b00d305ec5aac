"""`silvermetal audit` and `silvermetal normalise`: commands over levers, leaks and normalise.

Rules:
- Exit 0: every lever shows and nothing leaks; 1: one does not, or something does; 2, 3 and 4 as everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from .cli import JSON, PATH, bounded, opened, write_text, written
from .image.opening import layers_within
from .leaks import HITS, SHORTEST, Words, search
from .levers import audit, read_build_info
from .limits import Limits
from .normalise import normalise
from .report.terminal import clean


@click.command("audit")
@click.argument("iso", type=PATH)
@click.option("--build-info", type=PATH, required=True, help="BUILD_INFO of the build: what was meant.")
@click.option("--lock", type=PATH, help="packages.lock: the image's packages must be its.")
@click.option("--leak", "words", multiple=True, metavar="WORD", help="A word that must be nowhere; may be repeated.")
@click.option("--leak-file", type=PATH, help="More such words, one a line: they then stand in no process list.")
@click.option("--json", "json_file", type=PATH, help="Write the result as JSON.")
@bounded
def audit_command(
    iso: Path,
    build_info: Path,
    lock: Path | None,
    words: tuple[str, ...],
    leak_file: Path | None,
    json_file: Path | None,
    limits: Limits,
) -> int:
    """Prove each lever in ISO, and search every layer of it for words that must not be there."""
    if leak_file is not None:
        words += tuple(w for w in leak_file.read_text(encoding="utf-8")[: 1 << 16].splitlines() if w)
    short = [w for w in words if len(w.encode()) < SHORTEST]
    if short:
        raise click.UsageError(
            f"--leak: got {short[0]!r}, expected at least {SHORTEST} bytes: shorter words are found everywhere"
        )
    layers = list(layers_within(opened(iso, limits)))
    checks = list(audit(layers, read_build_info(build_info), lock))
    leaks = []
    for leak in search(layers, Words(words)) if words else ():
        leaks.append(leak)
        if len(leaks) >= HITS:
            break
    failed = [c for c in checks if not c.ok and c.severity == "error"]
    if json_file:
        document = {
            "version": 1,
            "ok": not failed and not leaks,
            "levers": [vars(c) for c in checks],
            "leaks": [vars(leak) for leak in leaks],
            "searched": list(words),
        }
        write_text(json_file, json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    console = Console(highlight=False, soft_wrap=True)
    for c in checks:
        mark = "[green]ok  [/]" if c.ok else "[yellow]note[/]" if c.severity == "note" else "[bold red]FAIL[/]"
        said = clean(c.got) if c.ok else f"got {clean(c.got)}, expected {clean(c.expected)}"
        console.print(f"{mark} {clean(c.lever)}: {said} [dim]{clean(c.where)}[/]")
    for leak in leaks:
        console.print(f"[bold red]LEAK[/] {clean(leak.word)} in {clean(leak.path)} [dim]({clean(leak.where)})[/]")
    state = "every lever shows" if not failed else f"{len(failed)} of {len(checks)} levers had no effect"
    told = f", {len(leaks)} leaks" if leaks else ", nothing leaks" if words else ""
    console.print(f"[bold]{state}{told}[/]")
    return 1 if failed or leaks else 0


@click.command("normalise")
@click.argument("iso", type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True, help="The new image; may be ISO itself, which is then replaced whole."
)
@click.option(
    "--epoch", type=click.IntRange(0, 4102444800), required=True, help="SOURCE_DATE_EPOCH: all dates come from it."
)
@click.option(
    "--replace", "pairs", multiple=True, metavar="PATH=FILE", help="Replace PATH in the image by FILE; may be repeated."
)
@JSON
@bounded
def normalise_command(
    iso: Path, output: Path, epoch: int, pairs: tuple[str, ...], as_json: bool, limits: Limits
) -> int:
    """Replace files in a finished ISO deterministically; boot data, owners and modes are checked to be kept."""
    replacements = {}
    for pair in pairs:
        path, equals, file = pair.partition("=")
        if not equals or not path.startswith("/"):
            raise click.UsageError(f"--replace: got {pair!r}, expected /path/in/the/iso=file")
        replacements[path] = Path(file)
    normalise(iso, output, epoch, replacements, limits)
    written(output, as_json=as_json)
    return 0
