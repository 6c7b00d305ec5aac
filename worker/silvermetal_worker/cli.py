"""``silvermetal-worker``: the commands of a build host.

Rules:

- Exit codes are those of :mod:`silvermetal_worker.errors`; a failure is one line on standard error, never a traceback.
- No command prints a digest of the artefact: what this host built is sealed until the verdict.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from silvermetal_proof import ProofError
from silvermetal_proof.builder_image import MAX_BYTES as MAX_IMAGE_BYTES
from silvermetal_proof.builder_image import ImageOrder
from silvermetal_proof.ledger.store import write_durably
from silvermetal_proof.order import MAX_ORDER_BYTES, Order

from silvermetal_worker import enrol
from silvermetal_worker.errors import EXIT_BUILD_FAILED, EXIT_FINDINGS, EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError
from silvermetal_worker.settings import WorkerDirectory

_PATH = click.Path(path_type=Path)
LOCK_FILE = "packages.lock"
"""The package lock, which the master hands over beside the order."""


def _ends_cleanly(function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except WorkerError as error:
            click.echo(f"silvermetal-worker: {error}", err=True)
            sys.exit(error.code)
        except (ProofError, OSError) as error:
            click.echo(f"silvermetal-worker: {error}", err=True)
            sys.exit(EXIT_BUILD_FAILED)

    return wrapper


def _read_order(path: Path) -> Order:
    with path.open("rb") as stream:
        return Order.read(stream.read(MAX_ORDER_BYTES + 1))


@click.group()
def main() -> None:
    """The build host's side of SilverMetal's build master."""


@main.command()
@click.argument("directory", type=_PATH)
@click.option("--name", required=True, help="The worker's name at the master.")
@click.option("--host", required=True, help="This host's name in config/hosts/.")
@click.option("--master", required=True, metavar="HOST:PORT", help="The master's worker port.")
@click.option("--store", required=True, help="Package store, an absolute path.")
@click.option("--docker-host", default="", help="The engine's address; default: the engine's own.")
@click.option("--snapshots", default="", metavar="URL", help="Where this host finds Debian's snapshots.")
@click.option("--inject-host-name", default="", metavar="FILE", help="Rehearsal: write the host's name into FILE.")
@_ends_cleanly
def init(directory: Path, **values: str) -> None:
    """Make DIRECTORY for a new worker; the password is read from standard input. Prints the public key."""
    click.echo(enrol.init(directory, dict(values), sys.stdin.readline().strip()).hex)


@main.command()
@click.argument("directory", type=_PATH)
@click.argument("bundle", type=_PATH)
@_ends_cleanly
def admit(directory: Path, bundle: Path) -> None:
    """Take the certificate in BUNDLE, which the master made; from then on the worker connects by TLS alone."""
    from silvermetal_worker.certificate import admit as take

    certificate = take(WorkerDirectory(directory), bundle.read_bytes())
    click.echo(f"admitted until {certificate.not_valid_after_utc:%Y-%m-%d}")


@main.command()
@click.argument("directory", type=_PATH)
@_ends_cleanly
def run(directory: Path) -> None:
    """Run the worker in DIRECTORY, in the foreground."""
    enrol.run(WorkerDirectory(directory))


@main.command()
@click.option("--master", required=True, help="The master's id, as it stands in the challenge.")
@click.option("--worker", required=True, help="The worker that is asked.")
@click.option("--nonce", required=True, help="The master's nonce, hex digits.")
@_ends_cleanly
def prove(master: str, worker: str, nonce: str) -> None:
    """Answer the master's key challenge: print the signature, hex digits. Buildbot's worker process calls it."""
    from silvermetal_proof.host.challenge import answer

    directory = WorkerDirectory.from_environment()
    try:
        question = bytes.fromhex(nonce)
    except ValueError:
        raise WorkerError("--nonce: expected hex digits, got others", EXIT_USAGE) from None
    name = directory.settings.name
    click.echo(answer(directory.signing_key(), own_name=name, master=master, worker=worker, nonce=question).hex())


@main.command()
@click.option("--order", "order_file", type=_PATH, required=True)
@click.option("--master-time", type=float, default=None, help="The master's clock, in seconds.")
@_ends_cleanly
def preflight(order_file: Path, master_time: float | None) -> None:
    """Say whether this host is ready for the order."""
    skew = None if master_time is None else time.time() - master_time  # before the checks, which take their time
    from silvermetal_worker.preflight import checks

    directory = WorkerDirectory.from_environment()
    order, lock = _read_order(order_file), order_file.parent / LOCK_FILE
    done = list(checks(order, directory, Path.cwd(), skew, lock.read_bytes() if lock.exists() else None))
    for check in done:
        click.echo(str(check))
    if bad := [c.name for c in done if not c.good]:
        raise WorkerError(f"this host is not ready: {', '.join(bad)}", EXIT_HOST_NOT_READY)


@main.command()
@click.argument("directory", type=_PATH)
@click.option("--checkout", type=_PATH, default=Path(), help="A checkout of what is to be built; default: here.")
@click.option("--recipe", default="minimal-live", show_default=True, help="The recipe whose needs are looked at.")
@click.option("--master-url", default="", help="The master's web page; its clock is then compared with this host's.")
@click.option("--host-only", is_flag=True, help="Do not look at the connection to the master.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@_ends_cleanly
def doctor(directory: Path, checkout: Path, recipe: str, master_url: str, host_only: bool, as_json: bool) -> None:
    """Say whether the host of the worker in DIRECTORY is ready to build, and what mends what is not.

    Exit codes: 0 all is good; 2 the call is wrong (no worker's directory, no such recipe); 3 a file of the checkout
    cannot be read; 5 the host is not ready.
    """
    from silvermetal_worker.connection import connection_checks
    from silvermetal_worker.preflight import examine

    worker = WorkerDirectory(directory.resolve())
    done = list(examine(worker, checkout.resolve(), recipe, master_url))
    done += [] if host_only else list(connection_checks(worker))
    if as_json:
        value = {"ready": all(c.good for c in done), "recipe": recipe, "checks": [asdict(c) for c in done]}
        click.echo(json.dumps(value, sort_keys=True))
    else:
        for check in done:
            click.echo(str(check))
    if bad := [c.name for c in done if not c.good]:
        raise WorkerError(f"this host is not ready: {', '.join(bad)}", EXIT_HOST_NOT_READY)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a line.")
@_ends_cleanly
def hardware(as_json: bool) -> None:
    """Print this machine's hardware identity, which an operator signs with `silvermetal enroll --dmi`.

    Needs root: the product UUID is not readable for others. Exit code 5 where the machine tells none.
    """
    from silvermetal_worker.host import hardware as look

    found = look()
    if found is None:
        raise WorkerError(
            "hardware: expected a product UUID in /sys/class/dmi/id/product_uuid, got none; call this as root, on a "
            "machine whose firmware has one (a container or some virtual machines have not: I2 is their best level)",
            EXIT_HOST_NOT_READY,
        )
    click.echo(json.dumps({"dmi": found}) if as_json else found)


@main.command()
@click.option("--order", "order_file", type=_PATH, required=True)
@click.option("--lock", type=_PATH, required=True)
@click.option("--output", type=_PATH, required=True)
@_ends_cleanly
def build(order_file: Path, lock: Path, output: Path) -> None:
    """Build what the order asks for, in the checkout that is the current folder."""
    from silvermetal_worker.build import build as run_build

    directory = WorkerDirectory.from_environment()
    run_build(
        _read_order(order_file), directory.settings, checkout=Path.cwd(), lock=lock.resolve(), output=output.resolve()
    )


@main.command("make-image")
@click.option("--order", "order_file", type=_PATH, required=True)
@click.option("-o", "--output", type=_PATH, required=True)
@_ends_cleanly
def make_image(order_file: Path, output: Path) -> None:
    """Make the builder image of the checkout that is the current folder, and push it to the registry."""
    from silvermetal_worker.builder_image import make_image as make

    order = ImageOrder.parse(order_file.read_bytes(), limit=MAX_IMAGE_BYTES, what="order for an image")
    settings = WorkerDirectory.from_environment().settings
    target = output.resolve()
    target.unlink(missing_ok=True)
    made = make(order, settings, checkout=Path.cwd(), folder=target.parent, say=click.echo)
    write_durably(target, made.encode(), replace=True)


@main.command()
@click.option("--order", "order_file", type=_PATH, required=True)
@click.option("--output", type=_PATH, required=True)
@_ends_cleanly
def audit(order_file: Path, output: Path) -> None:
    """Prove the levers in what was built and search it for traces of this host; exit 6 for findings that only warn."""
    from silvermetal_worker.audit import audit as look
    from silvermetal_worker.audit import policy_of

    directory = WorkerDirectory.from_environment()
    order = _read_order(order_file)
    code = EXIT_BUILD_FAILED if policy_of(order) == "fail" else EXIT_FINDINGS
    try:
        found = look(order, directory.settings, checkout=Path.cwd(), folder=output.resolve())
    except WorkerError as error:
        raise WorkerError(f"no audit: {error}", code) from None
    for line in found.lines:
        click.echo(f"FOUND   {line}")
    if found.lines:
        raise WorkerError(found.summary, code)
    click.echo(found.summary)


@main.command()
@click.option("--order", "order_file", type=_PATH, required=True)
@click.option("--output", type=_PATH, required=True)
@click.option("--statement", type=_PATH, required=True)
@_ends_cleanly
def attest(order_file: Path, output: Path, statement: Path) -> None:
    """Sign and seal what was built; keep the ISO on this host."""
    from silvermetal_worker.attest import attest as make
    from silvermetal_worker.keep import keep

    directory = WorkerDirectory.from_environment()
    order = _read_order(order_file)
    sealed = make(order, directory.settings, directory.signing_key(), checkout=Path.cwd(), folder=output.resolve())
    write_durably(statement.resolve(), sealed, replace=True)
    if order.attribution is None:
        bounds = directory.settings
        limits = {"days": bounds.keep_days, "mebibytes": bounds.keep_mib}
        keep(output.resolve(), directory.artefacts, order.build, bounds.keep_artefacts, **limits)
    else:
        # Evidence alone: it must not push out an ISO that is still to be explained or delivered.
        shutil.rmtree(output.resolve())
    click.echo(f"statement of {order.host} for build {order.build}: signed and sealed, {len(sealed)} bytes")


@main.command()
@click.argument("build_id")
@click.option("-o", "--output", type=_PATH, required=True)
@_ends_cleanly
def manifest(build_id: str, output: Path) -> None:
    """Write the manifest of the ISO that BUILD_ID left on this host, for the explanation of a difference."""
    from silvermetal_worker.manifest import write_manifest

    write_manifest(WorkerDirectory.from_environment().artefacts, build_id, output.resolve())


@main.command()
@click.option("--order", "order_file", type=_PATH, required=True)
@_ends_cleanly
def deliver(order_file: Path) -> None:
    """Send the ISO that the order names to the master, which releases it."""
    from silvermetal_worker.deliver import deliver as send

    directory = WorkerDirectory.from_environment()
    size = send(directory.artefacts, order_file, directory.path / "keys")
    click.echo(f"the ISO is delivered, {size} bytes")


@main.command()
@click.argument("build_id")
@click.option("--want", type=_PATH, required=True)
@click.option("-o", "--output", type=_PATH, required=True)
@_ends_cleanly
def excerpt(build_id: str, want: Path, output: Path) -> None:
    """Write the first bytes of the files in WANT, as BUILD_ID's ISO on this host has them."""
    from silvermetal_worker.manifest import write_excerpt

    write_excerpt(WorkerDirectory.from_environment().artefacts, build_id, want.resolve(), output.resolve())


if __name__ == "__main__":
    main()
