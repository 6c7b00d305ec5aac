"""The commands `silvermetal map`, `manifest`, `excerpt`, `diff`, `audit` and `normalise`.

Rules:
- Exit codes: 0 same or done, 1 differ, 2 usage, 3 unreadable input (got and expected), 4 limit exceeded.
- Whatever the input holds, the caller sees one line, never a traceback; output files are written whole or not at all.
"""

from __future__ import annotations

import functools
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from . import excerpts, recorded
from . import manifest as manifests
from .compare import Comparer
from .diagnosis import Diagnosis, diagnose
from .errors import ExplainError
from .image.iso9660 import Iso
from .image.opening import open_iso
from .image.source import FileSource
from .jsonfile import read_json, write
from .limits import MIB, Limits, guard
from .recorded import RecordedIso
from .report import document, terminal

PATH = click.Path(path_type=Path, dir_okay=False)
CODES = "Exit codes: 0 done, same or nothing found, 1 differ or found, 2 usage, 3 unreadable, 4 a limit was exceeded."
JSON = click.option("--json", "as_json", is_flag=True, help="Say what was written, or why not, as JSON.")


def bounded(command: Callable[..., int | None]) -> Callable[..., None]:
    """Give a command its limits and turn every failure into one line and a code."""

    @click.option(
        "--memory",
        type=click.IntRange(64, 65536),
        default=256,
        show_default=True,
        help="MiB of private memory at most.",
    )
    @click.option("--seconds", type=click.IntRange(1, 86400), default=900, show_default=True, help="Wall time at most.")
    @functools.wraps(command)
    def run(memory: int, seconds: int, **arguments: Any) -> None:
        limits = Limits(memory=memory * MIB, seconds=seconds)
        gc.disable()  # hundreds of thousands of tuples, no cycles among them: collecting costs a third of the time
        try:
            with guard(limits):
                code, why = command(limits=limits, **arguments) or 0, ""
        except ExplainError as error:
            code, why = error.exit_code, str(error)
        except RecursionError:
            code, why = 3, "got structures nested too deep, expected an image"
        except OSError as error:
            code, why = 3, f"{error.filename or ''} {error.strerror or error}".strip()
        if why and arguments.get("as_json"):
            click.echo(json.dumps({"ok": False, "code": code, "why": why}, sort_keys=True))
        elif why:
            click.echo(f"silvermetal: {why}", err=True)
        sys.exit(code)

    run.__doc__ = f"{command.__doc__}\n\n    {CODES}"
    return run


def written(output: Path, *, as_json: bool) -> None:
    """What a command says whose result is a file."""
    if as_json:
        click.echo(json.dumps({"ok": True, "output": str(output), "size": output.stat().st_size}, sort_keys=True))


def opened(path: Path, limits: Limits) -> Iso:
    """An ISO by its path."""
    return open_iso(FileSource(path), limits)


def _either(path: Path, limits: Limits, excerpt: Path | None) -> Iso | RecordedIso:
    if recorded.is_manifest(path):
        return recorded.load(path, limits, excerpt)
    return opened(path, limits)


def _identity(image: Iso | RecordedIso) -> dict[str, object]:
    return dict(image.identity) if isinstance(image, RecordedIso) else {"size": image.source.size}


@click.command("map")
@click.argument("iso", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Rows as JSON.")
@bounded
def map_command(iso: Path, as_json: bool, limits: Limits) -> int:
    """Name every byte of ISO: disjoint regions that cover the whole file."""
    from .mapping import full_map

    regions = full_map(opened(iso, limits))
    if as_json:
        click.echo(
            json.dumps([{"start": r.start, "length": r.length, "name": r.name} for r in regions], ensure_ascii=False)
        )
        return 0
    for r in regions:
        click.echo(f"{r.start:>12} {r.length:>12}  {terminal.clean(r.name)}")
    click.echo(f"{sum(r.length for r in regions)} of {iso.stat().st_size} bytes in {len(regions)} regions", err=True)
    return 0


@click.command("manifest")
@click.argument("iso", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Where to write it; gzip if the name ends in .gz.")
@JSON
@bounded
def manifest_command(iso: Path, output: Path, as_json: bool, limits: Limits) -> int:
    """Write what ISO holds, without its bytes, for comparing across hosts."""
    write(manifests.make(opened(iso, limits), iso.name), output)
    written(output, as_json=as_json)
    return 0


@click.command("excerpt")
@click.argument("iso", type=PATH)
@click.option(
    "--want", type=PATH, required=True, help="JSON of `silvermetal diff`: its differing files are the wanted ones."
)
@click.option(
    "-o", "--output", type=PATH, required=True, help="Where to write the excerpts; gzip if the name ends in .gz."
)
@click.option(
    "--each", type=click.IntRange(1, 16 * MIB), default=256 << 10, show_default=True, help="Bytes of one file at most."
)
@click.option(
    "--together",
    type=click.IntRange(1, 64 * MIB),
    default=4 * MIB,
    show_default=True,
    help="Bytes of all files at most.",
)
@JSON
@bounded
def excerpt_command(
    iso: Path, want: Path, output: Path, each: int, together: int, as_json: bool, limits: Limits
) -> int:
    """Write a piece of each file that a diff of manifests found to differ, from where it begins to."""
    wanted = excerpts.wanted_in(read_json(want, "diff report"), str(want))
    write(excerpts.take(opened(iso, limits), wanted, each, together), output)
    written(output, as_json=as_json)
    return 0


def compared(
    a: Path,
    b: Path,
    limits: Limits,
    labels: tuple[str, str] = ("", ""),
    pieces: tuple[Path | None, Path | None] = (None, None),
) -> Diagnosis:
    """Two images, each an ISO or a manifest, diagnosed."""
    left, right = _either(a, limits, pieces[0]), _either(b, limits, pieces[1])
    if isinstance(left, RecordedIso) != isinstance(right, RecordedIso):
        left, right = (_recorded(i, p, limits) for i, p in ((left, a), (right, b)))
    comparison = Comparer(limits).images(left, right)
    names = (labels[0] or a.name, labels[1] or b.name)
    return diagnose(comparison, names, (_identity(left), _identity(right)), limits, labels)


def _recorded(image: Iso | RecordedIso, path: Path, limits: Limits) -> RecordedIso:
    """An ISO beside a manifest is compared by its own manifest."""
    if isinstance(image, RecordedIso):
        return image
    return recorded.from_document(json.loads(json.dumps(manifests.make(image, path.name))), str(path), limits, None)


@click.command("diff")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("--json", "json_file", type=PATH, help="Write the report as JSON.")
@click.option("--html", "html_file", type=PATH, help="Write the report as one self-contained page.")
@click.option("--text-dir", type=click.Path(path_type=Path, file_okay=False), help="Write the report as text files.")
@click.option(
    "--label-a", default="", help="What to call A: the host that built it; its name is looked for in the differences."
)
@click.option("--label-b", default="", help="What to call B.")
@click.option("--excerpt-a", type=PATH, help="Excerpts of A's differing files (silvermetal excerpt).")
@click.option("--excerpt-b", type=PATH, help="Excerpts of B's.")
@click.option(
    "--deep", is_flag=True, help="Run diffoscope on differing files whose bytes alone tell nothing (bounded)."
)
@click.option("--quiet", is_flag=True, help="Only the summary.")
@bounded
def diff_command(
    a: Path,
    b: Path,
    json_file: Path | None,
    html_file: Path | None,
    text_dir: Path | None,
    label_a: str,
    label_b: str,
    excerpt_a: Path | None,
    excerpt_b: Path | None,
    deep: bool,
    quiet: bool,
    limits: Limits,
) -> int:
    """Say where A and B (ISO images or manifests) differ, why, and what to do about it."""
    diagnosis = compared(a, b, limits, (label_a, label_b), (excerpt_a, excerpt_b))
    if deep:
        from .deep import look

        look(diagnosis)
    if json_file:
        write_text(json_file, document.text(diagnosis))
    if html_file:
        from .report import page

        write_text(html_file, page.render(diagnosis))
    if text_dir:
        from .report import textfiles

        textfiles.write(diagnosis, text_dir)
    if quiet:
        click.echo(terminal.clean(diagnosis.summary, 2000))
    else:
        terminal.show(diagnosis, Console(highlight=False, soft_wrap=True))
    return 0 if diagnosis.same else 1


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    temporary.replace(path)


@click.group()
def group() -> None:
    """Why two ISOs differ, and what an ISO holds."""


for _command in (map_command, manifest_command, excerpt_command, diff_command):
    group.add_command(_command)
