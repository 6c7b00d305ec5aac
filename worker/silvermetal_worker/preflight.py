"""Preflight: is this host ready for this recipe? Asked before minutes are spent, and by ``doctor``.

Rules:

- One list for both: a build's first step asks it for an order, ``doctor`` for a checkout.
- A variation that the order asks for is tried, all of it at once, around the probe container.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from silvermetal_proof.errors import printable
from silvermetal_proof.order import Order

from silvermetal_worker import checks as look
from silvermetal_worker.build import varied
from silvermetal_worker.checks import Check
from silvermetal_worker.engine import check_credentials
from silvermetal_worker.engine_checks import engine_checks, probe
from silvermetal_worker.settings import WorkerDirectory
from silvermetal_worker.wanted import Wanted


def host_checks(wanted: Wanted, directory: WorkerDirectory, *, pull: bool = False) -> Iterator[Check]:
    """All that a host is looked at for, one after the other."""
    settings = directory.settings
    yield from look.floors(wanted.settings, directory.path)
    yield from look.tools()
    yield look.entropy()
    yield from look.modules(wanted.settings)
    yield from look.loop_devices(wanted.settings)
    yield look.writable("worker's directory", directory.path)
    yield look.writable("package store", Path(settings.store))
    yield look.of_error("signing key", "readable by its owner alone", lambda: directory.signing_key().public.keyid[:16])
    if settings.registry_auth:
        mend = f"`chmod 400 {settings.registry_auth}`, and the worker's user as its owner"
        file = settings.registry_auth
        yield look.of_error(
            "registry's credentials", "readable by their owner alone", lambda: check_credentials(file), mend
        )
    yield from engine_checks(wanted, directory, pull=pull)


def examine(directory: WorkerDirectory, checkout: Path, recipe: str, master_url: str) -> Iterator[Check]:
    """What ``doctor`` looks at. ``master_url`` is the master's web page, for its clock; empty for nobody's."""
    wanted = Wanted.of_checkout(checkout, recipe)
    if master_url:
        try:
            yield look.clock(look.clock_of(master_url))
        except (OSError, ValueError, TypeError) as error:
            said = printable(str(error), 200)
            yield Check("clock", False, f"the time of {master_url}", said, "name the master's web page by --master-url")
    else:
        yield Check("clock", True, "the master's time", "not compared; name the master's web page by --master-url")
    lock = checkout / "config" / f"{recipe}.lock"
    if lock.exists():
        yield look.package_lock(lock.read_bytes())
    yield from host_checks(wanted, directory)


def checks(
    order: Order, directory: WorkerDirectory, checkout: Path, skew: float | None, lock: bytes | None = None
) -> Iterator[Check]:
    """A build's preflight. ``skew`` is this host's clock less the master's, in seconds, taken when it was handed on."""
    host = directory.settings.host
    yield Check("order", order.host == host, f"an order for {host}", f"one for {order.host}")
    if skew is not None:
        yield look.clock(skew)
    if lock is not None:
        yield look.package_lock(lock, order.pins.lock)
    wanted = Wanted.of_pins(order.pins, checkout)
    yield from host_checks(wanted, directory, pull=True)
    if order.variation:
        yield look.of_error(
            "variation",
            " ".join(order.variation.arguments),
            lambda: probe(wanted, directory.settings, directory.path, before=varied(order)),
            f"mend it, or take the factor out of [variation.{host}] in the master's settings",
        )
