"""``silvermetal attribute``: the search for a guilty factor on one machine, a step a call; whoever calls builds.

Rules:

- The state is one file; it is replaced as a whole, so that a caller who was interrupted goes on.
- ``next`` prints under which factors to build, ``tried`` takes what came, ``report`` says what is known.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from silvermetal_proof.attribution import Ask, Inquiry, Question, Tried, describe, next_step, page, stopped
from silvermetal_proof.attribution.records import MAX_INQUIRY_BYTES
from silvermetal_proof.cli.ends import End, Refused, read
from silvermetal_proof.errors import ProofError, printable
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.variation import Variation

HERE = "this-machine"
_FILE = click.argument("file", type=click.Path(path_type=Path))


def _load(file: Path) -> Inquiry:
    try:
        return Inquiry.read(read(file, MAX_INQUIRY_BYTES))
    except ProofError as error:
        raise Refused(End.UNREADABLE, file, str(error)) from None


@click.group("attribute")
def attribute() -> None:
    """Find out which varied factor changes the bytes of a build, build by build."""


@attribute.command("begin")
@_FILE
@click.option("--build", required=True, help="32 hex digits that name what is built.")
@click.option("--digests", nargs=2, required=True, help="SHA-256 of the plain build and of the varied one.")
@click.option("--budget", type=int, default=24, show_default=True, help="Builds that may be made.")
@click.option("--repeats", type=int, default=2, show_default=True, help="How often each side is built again.")
@click.argument("factors", nargs=-1)
def begin(
    file: Path, build: str, digests: tuple[str, str], budget: int, repeats: int, factors: tuple[str, ...]
) -> None:
    """Write FILE for a build that differed under FACTORS (NAME=VALUE each)."""
    try:
        plans = (Variation(), Variation.of_arguments(factors))
        question = Question.about(
            build=build, hosts=(HERE, HERE), plans=plans, digests=digests, budget=budget, repeats=repeats
        )
    except (ProofError, ValueError) as error:
        raise Refused(End.USAGE, file, printable(str(error), 400)) from None
    write_durably(file, Inquiry(question=question).encode(), replace=True)


@attribute.command("next")
@_FILE
def next_command(file: Path) -> None:
    """Print the next build's factors, NAME=VALUE by blanks (an empty line: none); exit code 1 when all is known."""
    inquiry = _load(file)
    step = next_step(inquiry)
    if not isinstance(step, Ask):
        sys.exit(End.OTHER_VERDICT)
    click.echo(" ".join(inquiry.question.variation_of(frozenset(step.builds[0])).arguments))


@attribute.command("tried")
@_FILE
@click.option("--digest", help="SHA-256 of what was built.")
@click.option("--failed", help="Why nothing was built.")
@click.option("--seconds", type=int, default=0, help="How long it took.")
def tried(file: Path, digest: str | None, failed: str | None, seconds: int) -> None:
    """Add what came of the build that `next` asked for."""
    inquiry = _load(file)
    step = next_step(inquiry)
    if not isinstance(step, Ask) or (digest is None) == (failed is None):
        raise Refused(End.USAGE, file, "expected one of --digest and --failed for a build that `next` asked for")
    try:
        row = Tried(factors=step.builds[0], digest=digest, problem=failed and printable(failed, 1000), seconds=seconds)
    except ValueError as error:
        raise Refused(End.USAGE, file, printable(str(error), 400)) from None
    write_durably(file, inquiry.with_tried(row).encode(), replace=True)


@attribute.command("report")
@_FILE
@click.option("--html", type=click.Path(path_type=Path), help="Write it as a page, too.")
def report(file: Path, html: Path | None) -> None:
    """Say what is known so far."""
    inquiry = _load(file)
    conclusion = stopped(inquiry, "it was stopped before its end")
    if html is not None:
        write_durably(html, page(inquiry, conclusion).encode(), replace=True)
    click.echo(describe(inquiry, conclusion), nl=False)
