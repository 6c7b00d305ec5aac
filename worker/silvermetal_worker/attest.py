"""Attest: look at what was built, hash it once, sign what was found, seal it for the master.

Rules:

- Inputs in the statement are read back: the commit from the checkout, the image from the engine, packages from the lock
  whose digest the build recorded, settings from ``BUILD_INFO``. What the order asked for is only compared by the
  master.
- The digest leaves this host inside the sealed statement and in no other way: nothing is printed.
- A file is used only when it is one of the names that the build's contract has, and there is exactly one ISO.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from silvermetal_proof.digest import Measurement, measure, sha256
from silvermetal_proof.errors import printable
from silvermetal_proof.host import HostEvidence
from silvermetal_proof.model import parse_time
from silvermetal_proof.order import Order
from silvermetal_proof.pins import SnapshotLock, parse_build_info, read_lock
from silvermetal_proof.pins.build_info import MAX_BUILD_INFO_BYTES
from silvermetal_proof.pins.lock import MAX_LOCK_BYTES
from silvermetal_proof.pins.snapshot import DEPENDENCY as SNAPSHOT
from silvermetal_proof.seal import seal
from silvermetal_proof.statement import SigningKey, Statement, make_statement, sign
from silvermetal_proof.statement.schema import Byproduct, Dependency, DigestSet, InternalParameters
from silvermetal_proof.variation import Variation

from silvermetal_worker.artefact import Found, look_at
from silvermetal_worker.audit import REPORT_FILE
from silvermetal_worker.build import APPLIED_FILE, TIMES_FILE
from silvermetal_worker.engine import ContainerEngine
from silvermetal_worker.errors import WorkerError
from silvermetal_worker.host import gather
from silvermetal_worker.process import output_of
from silvermetal_worker.settings import WorkerSettings


@dataclass(frozen=True)
class Output:
    """The files of one finished build."""

    iso: Path
    build_info: bytes
    lock: bytes
    log: Path
    audit: Path


def _bounded(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise WorkerError(f"{path.name}: expected it in the build's output, got no file") from None
    if len(data) > limit:
        raise WorkerError(f"{path.name}: expected at most {limit} bytes, got more")
    return data


def read_output(folder: Path) -> Output:
    """Find the build's files. :raises WorkerError: when the output is not what the contract says."""
    isos = sorted(p for p in folder.glob("*.iso") if p.is_file() and not p.is_symlink())
    if len(isos) != 1:
        raise WorkerError(f"{folder}: expected exactly one ISO, got {len(isos)}")
    return Output(
        isos[0],
        _bounded(folder / "BUILD_INFO", MAX_BUILD_INFO_BYTES),
        _bounded(folder / "packages.lock", MAX_LOCK_BYTES),
        folder / "build.log",
        folder / REPORT_FILE,
    )


def dependencies(checkout: Path, image_id: str, lock: bytes, image_digest: str | None = None) -> tuple[Dependency, ...]:
    """Every input by name, as it really was. ``image_digest`` is the image's in a registry, where it is pinned so."""
    head = output_of(["git", "-c", "safe.directory=*", "rev-parse", "HEAD"], timeout=60, cwd=checkout).strip()
    found = [
        Dependency(name="commit", digest=DigestSet(git_commit=head)),
        Dependency(name="builder image", digest=DigestSet(sha256=image_id.removeprefix("sha256:"))),
        Dependency(name="package lock", digest=DigestSet(sha256=sha256(lock).removeprefix("sha256:"))),
    ]
    if image_digest is not None:
        digest = DigestSet(sha256=image_digest.removeprefix("sha256:"))
        found.append(Dependency(name="builder image digest", digest=digest))
    submodules = output_of(
        ["git", "-c", "safe.directory=*", "submodule", "status", "--recursive"], timeout=300, cwd=checkout
    )
    for line in submodules.splitlines():
        if line.startswith("-"):
            continue  # not fetched, so the build has not used it
        commit, path = line[1:].split(maxsplit=2)[:2]
        found.append(Dependency(name=f"submodule {path}", digest=DigestSet(git_commit=commit)))
    locked = read_lock(lock)
    if isinstance(locked, SnapshotLock):
        return (*found, Dependency(name=SNAPSHOT, version=locked.value))
    for package in locked.packages:
        found.append(
            Dependency(
                name=f"package {package.name}:{package.architecture}",
                version=package.version,
                digest=DigestSet(sha256=package.sha256),
            )
        )
    return tuple(found)


def _times(output: Path) -> tuple[datetime, datetime]:
    values = json.loads(_bounded(output.parent / TIMES_FILE, 4096))
    return parse_time(values["started"]), parse_time(values["finished"])


def byproducts(output: Output) -> tuple[Byproduct, ...]:
    """What the build also left, by digest: ``BUILD_INFO``, the audit's report, the log, as far as they are there."""
    digests = {"BUILD_INFO": sha256(output.build_info).removeprefix("sha256:")}
    for path in (output.audit, output.log):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                digests[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return tuple(Byproduct(name=name, digest=DigestSet(sha256=digest)) for name, digest in digests.items())


def applied(order: Order, output: Path) -> Variation | None:
    """The variation that was in effect. :raises WorkerError: when one was ordered and nothing says so."""
    if not order.variation:
        return None
    values = json.loads(_bounded(output.parent / APPLIED_FILE, 4096))
    return Variation.of_arguments(f"{name}={value}" for name, value in values.items())


def compose(
    order: Order,
    output: Output,
    *,
    measured: Measurement,
    found: Found,
    evidence: HostEvidence,
    inputs: tuple[Dependency, ...],
    variation: Variation | None = None,
) -> Statement:
    """Put the statement together from what was read back."""
    try:
        return make_statement(
            build=order.build,
            parameters=order.parameters,
            internal=InternalParameters(pins=order.pins.digest, build_info=parse_build_info(output.build_info)),
            dependencies=inputs,
            iso_name=output.iso.name,
            measured=measured,
            iso9660=found.iso9660,
            bootable=found.bootable,
            host=order.host,
            worker=order.worker,
            evidence=evidence,
            nonce=order.nonce,
            byproducts=byproducts(output),
            variation=variation,
            attribution=order.attribution,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise WorkerError(
            f"statement cannot be made: {path}: expected {first['msg']}, got {printable(first['input'])}"
        ) from None


def attest(order: Order, settings: WorkerSettings, key: SigningKey, *, checkout: Path, folder: Path) -> bytes:
    """Return the sealed statement over the build in ``folder``. :raises WorkerError: when it cannot be made."""
    output = read_output(folder)
    engine = ContainerEngine(settings.docker_host)
    started, finished = _times(folder)
    image = order.pins.builder_image
    with output.iso.open("rb") as stream:
        measured = measure(stream, order.nonce)
    statement = compose(
        order,
        output,
        measured=measured,
        found=look_at(output.iso),
        evidence=gather(engine.facts(), started=started, finished=min(finished, datetime.now(UTC))),
        inputs=dependencies(checkout, engine.image_id(image), output.lock, engine.image_digest(image)),
        variation=applied(order, folder),
    )
    envelope = sign(statement.encode(), key)
    return seal(envelope, public_hex=order.seal_key, build=order.build, host=order.host)
