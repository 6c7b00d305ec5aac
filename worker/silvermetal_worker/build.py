"""The build: ``scripts/build.sh`` of the commit, under the order's pins, with a deadline.

Rules:

- What is built is what was ordered: the checkout must be clean and at the ordered commit.
- The environment is made anew: nothing of the worker's own reaches the build but PATH and HOME.
- An ordered variation is applied by ``silvermetal-vary``, around ``build.sh``; what was in effect is kept for the
  statement, and a host that cannot vary so does not build.
- Times of the build are kept for the statement; the ISO's digest is looked at by nobody here.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from silvermetal_proof.model import format_time
from silvermetal_proof.order import Order

from silvermetal_worker.errors import EXIT_BUILD_FAILED, EXIT_TIMEOUT, WorkerError
from silvermetal_worker.process import output_of, run_to_log
from silvermetal_worker.settings import WorkerSettings

TIMES_FILE = "times.json"
APPLIED_FILE = "variation.json"
_GIT = ("git", "-c", "safe.directory=*")
_MEANINGS = {
    2: "the call of build.sh is wrong",
    3: "the build failed; the log above says where",
    4: "a pin was refused",
    5: "the host is not ready",
    EXIT_TIMEOUT: "the deadline has passed",
}


def check_tree(checkout: Path, commit: str) -> None:
    """:raises WorkerError: unless ``checkout`` is a clean tree at ``commit``."""
    head = output_of([*_GIT, "rev-parse", "HEAD"], timeout=60, cwd=checkout).strip()
    if head != commit:
        raise WorkerError(f"checkout: expected commit {commit}, got {head}")
    dirt = output_of([*_GIT, "status", "--porcelain", "--untracked-files=all"], timeout=300, cwd=checkout).strip()
    if dirt:
        raise WorkerError(f"checkout: expected a clean tree, got {dirt.splitlines()[0]!r} and maybe more")


def command(order: Order, settings: WorkerSettings, *, lock: Path, output: Path) -> list[str]:
    """The call of ``scripts/build.sh`` for this order on this host."""
    argv = varied(order, "--applied", str(output.parent / APPLIED_FILE))
    argv += ["bash", "scripts/build.sh", "--recipe", order.recipe, "--lock", str(lock), "--output", str(output)]
    argv += ["--store", settings.store]
    if settings.inject_host_name:
        argv += ["--inject-host-name", settings.inject_host_name]
    return argv


def varied(order: Order, *options: str) -> list[str]:
    """What stands before a command that runs under the order's variation; nothing where it has none."""
    if not order.variation:
        return []
    program = str(Path(sys.executable).with_name("silvermetal-vary"))
    return [program, *options, *order.variation.arguments, "--"]


def environment(order: Order, settings: WorkerSettings) -> dict[str, str]:
    """The whole environment of the build."""
    return environment_of(
        settings,
        BUILDER_IMAGE=order.pins.builder_image,
        SOURCE_DATE_EPOCH=str(order.pins.source_date_epoch),
        SILVERMETAL_BUILD_TIMEOUT=str(order.timeout),
    )


def environment_of(settings: WorkerSettings, **values: str) -> dict[str, str]:
    """The environment of a call of ``build.sh`` on this host."""
    env = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "HOME": os.environ.get("HOME", "/root"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "CONTAINER_ENGINE": settings.engine,
        **values,
    }
    if settings.docker_host:
        env["DOCKER_HOST"] = settings.docker_host
    if settings.snapshots:
        env |= {"SILVERMETAL_SNAPSHOTS": settings.snapshots, "SILVERMETAL_NETWORK": settings.network}
    return env


def build(order: Order, settings: WorkerSettings, *, checkout: Path, lock: Path, output: Path) -> None:
    """Run the build and write its times beside ``output``. :raises WorkerError: when it does not end well."""
    check_tree(checkout, order.commit)
    (output.parent / APPLIED_FILE).unlink(missing_ok=True)
    started = datetime.now(UTC)
    code = run_to_log(
        command(order, settings, lock=lock, output=output),
        # build.sh ends itself at its deadline and cleans up; this one is for a build.sh that does not.
        timeout=order.timeout + 60,
        cwd=checkout,
        env=environment(order, settings),
    )
    times = {"started": format_time(started), "finished": format_time(datetime.now(UTC))}
    (output.parent / TIMES_FILE).write_text(json.dumps(times), encoding="ascii")
    if code != 0:
        meaning = _MEANINGS.get(code, "the build ended in a way that it should not")
        raise WorkerError(
            f"build.sh: expected exit code 0, got {code}: {meaning}", code if code in _MEANINGS else EXIT_BUILD_FAILED
        )
