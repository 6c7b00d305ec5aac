"""``silvermetal attribute``: the search for a guilty factor on one machine, a step a call; whoever calls builds.

Rules:

- The state is one file; it is replaced as a whole, so that a caller who was interrupted goes on.
- ``next`` prints under which factors to build, ``tried`` takes what came, ``report`` says what is known.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from silvermetal_proof.attribution import Ask, Inquiry, Question, Tried, describe, next_step, page, stopped
from silvermetal_proof.attribution.records import MAX_INQUIRY_BYTES
from silvermetal_proof.cli.ends import CODES, End, Refused, finish, read, refuse
from silvermetal_proof.errors import ProofError, printable
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.variation import Variation

HERE = "this-machine"
_FILE = click.argument("file", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def _load(file: Path) -> Inquiry:
    try:
        return Inquiry.read(read(file, MAX_INQUIRY_BYTES))
    except ProofError as error:
        raise Refused(End.UNREADABLE, file, str(error)) from None


def _write(file: Path, data: bytes) -> None:
    try:
        write_durably(file, data, replace=True)
    except OSError as error:
        raise Refused(End.UNREADABLE, file, f"expected a file that can be written, got {error.strerror}") from None


def _begun(
    build: str, digests: tuple[str, str], budget: int, repeats: int, factors: tuple[str, ...], file: Path
) -> Inquiry:
    try:
        plans = (Variation(), Variation.of_arguments(factors))
        question = Question.about(
            build=build, hosts=(HERE, HERE), plans=plans, digests=digests, budget=budget, repeats=repeats
        )
    except (ProofError, ValueError) as error:
        raise Refused(End.USAGE, file, printable(str(error), 400)) from None
    return Inquiry(question=question)


@click.group("attribute")
def attribute() -> None:
    """Find out which varied factor changes the bytes of a build, build by build."""


@attribute.command("begin", epilog=CODES)
@_FILE
@click.option("--build", required=True, help="32 hex digits that name what is built.")
@click.option("--digests", nargs=2, required=True, help="SHA-256 of the plain build and of the varied one.")
@click.option("--budget", type=int, default=24, show_default=True, help="Builds that may be made.")
@click.option("--repeats", type=int, default=2, show_default=True, help="How often each side is built again.")
@click.argument("factors", nargs=-1)
@_JSON
def begin(
    file: Path,
    build: str,
    digests: tuple[str, str],
    budget: int,
    repeats: int,
    factors: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write FILE for a build that differed under FACTORS (NAME=VALUE each)."""
    try:
        _write(file, _begun(build, digests, budget, repeats, factors, file).encode())
    except Refused as refused:
        refuse(refused, as_json=as_json)
    if as_json:
        finish({"ok": True, "factors": sorted(factors)}, as_json=True, text="")


@attribute.command("next", epilog=CODES)
@_FILE
@_JSON
def next_command(file: Path, as_json: bool) -> None:
    """Print the next build's factors, NAME=VALUE by blanks (an empty line: none); exit code 1 when all is known."""
    try:
        inquiry = _load(file)
    except Refused as refused:
        refuse(refused, as_json=as_json)
    step = next_step(inquiry)
    if not isinstance(step, Ask):
        if as_json:
            click.echo(json.dumps({"known": True, "ok": True}, sort_keys=True))
        sys.exit(End.OTHER_VERDICT)
    factors = inquiry.question.variation_of(frozenset(step.builds[0])).arguments
    finish({"factors": list(factors), "known": False, "ok": True}, as_json=as_json, text=" ".join(factors))


def _tried(file: Path, digest: str | None, failed: str | None, seconds: int) -> Inquiry:
    inquiry = _load(file)
    step = next_step(inquiry)
    if not isinstance(step, Ask) or (digest is None) == (failed is None):
        raise Refused(End.USAGE, file, "expected one of --digest and --failed for a build that `next` asked for")
    try:
        row = Tried(factors=step.builds[0], digest=digest, problem=failed and printable(failed, 1000), seconds=seconds)
    except ValueError as error:
        raise Refused(End.USAGE, file, printable(str(error), 400)) from None
    return inquiry.with_tried(row)


@attribute.command("tried", epilog=CODES)
@_FILE
@click.option("--digest", help="SHA-256 of what was built.")
@click.option("--failed", help="Why nothing was built.")
@click.option("--seconds", type=int, default=0, help="How long it took.")
@_JSON
def tried(file: Path, digest: str | None, failed: str | None, seconds: int, as_json: bool) -> None:
    """Add what came of the build that `next` asked for."""
    try:
        inquiry = _tried(file, digest, failed, seconds)
        _write(file, inquiry.encode())
    except Refused as refused:
        refuse(refused, as_json=as_json)
    if as_json:
        finish({"builds": len(inquiry.tried), "ok": True}, as_json=True, text="")


@attribute.command("report", epilog=CODES)
@_FILE
@click.option("--html", type=click.Path(path_type=Path), help="Write it as a page, too.")
@_JSON
def report(file: Path, html: Path | None, as_json: bool) -> None:
    """Say what is known so far."""
    try:
        inquiry = _load(file)
        conclusion = stopped(inquiry, "it was stopped before its end")
        if html is not None:
            _write(html, page(inquiry, conclusion).encode())
    except Refused as refused:
        refuse(refused, as_json=as_json)
    text = describe(inquiry, conclusion)
    finish({"conclusion": text.splitlines(), "ok": True}, as_json=as_json, text=text.rstrip("\n"))
