"""Host evidence: what a worker reports of its machine, and what the master saw of the connection.

Rules:

- The worker's part is self-reported and signed: root on the host can forge all of it (docs/trust-model.md). It is
  compared, never believed alone.
- Identifiers that must not be published (machine-id(5): "should be considered confidential") travel only as
  application-specific hashes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from pydantic import Field

from silvermetal_proof.model import Hex64, Line, Name, Record, Time

_APPLICATION = b"silvermetal host evidence v1"


def application_hash(identifier: str) -> str:
    """Hash a confidential host identifier as sd_id128_get_machine_app_specific(3) does in kind: HMAC-SHA-256."""
    return hmac.new(_APPLICATION, identifier.strip().lower().encode(), hashlib.sha256).hexdigest()


class Kernel(Record):
    """``uname -srvm``, field by field."""

    release: Line
    version: Line
    machine: Line


class Cpu(Record):
    """The processor as the kernel names it, and how many of them the worker may use."""

    model: Line
    count: Annotated[int, Field(ge=1, le=65536)]


class Engine(Record):
    """The container engine: its name and version, and the id that it gives itself."""

    name: Line
    version: Line
    id: Line


class HostEvidence(Record):
    """What a worker says of its host at the time of one build."""

    machine_id: Hex64
    """Application hash of machine-id(5)."""
    boot_id: Hex64
    """Application hash of ``/proc/sys/kernel/random/boot_id``: one per kernel that runs."""
    kernel: Kernel
    cpu: Cpu
    virtualisation: Line
    """What systemd-detect-virt(1) calls it: ``none``, ``kvm``, ``qemu``, ``docker``, ``unknown`` …"""
    dmi: Hex64 | None = None
    """Application hash of the DMI product UUID, where the machine has one that is not all zeros."""
    engine: Engine
    boot_time: Time
    """When this kernel started, by the host's own clock."""
    started: Time
    """Build's start by the host's own clock."""
    finished: Time
    """Build's end by the host's own clock."""


class Observation(Record):
    """What the master saw of one worker during one build, by the master's own clock."""

    worker: Name
    """The Buildbot worker that was connected."""
    peer: Annotated[str, Field(max_length=64)] | None
    """The address that the connection came from (no port); None for a connection without one."""
    tls_identity: Line | None = None
    """Subject of the client certificate, where connections have one."""
    started: Time
    finished: Time
    attempts: Annotated[int, Field(ge=1)] = 1
    """Builds that the request needed: more than one after a lost worker."""


class Reported(Record):
    """A host's name with what it reported; used where evidence is shown."""

    host: Name
    evidence: HostEvidence
