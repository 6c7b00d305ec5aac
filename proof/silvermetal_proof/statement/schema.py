"""The statement of one worker: in-toto Statement v1 with SLSA Provenance v1.

Sources: https://in-toto.io/Statement/v1 (github.com/in-toto/attestation, spec/v1/statement.md) and
https://slsa.dev/spec/v1.0/provenance. Extension fields follow SLSA's rule for them: ``<vendor>_<field>``.

Rules:

- Strict on both ends: unknown keys, other types and oversized documents are refused.
- What decides (commit, recipe, pins, nonce, digests) has one place each; nothing is said twice that could differ.
- ``resolvedDependencies`` is what the worker *used*, read back from the build, not what it was told to use.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from silvermetal_proof.digest import Measurement
from silvermetal_proof.host.evidence import HostEvidence
from silvermetal_proof.model import Commit, Hex64, Line, Name, Record, Sha256, Time
from silvermetal_proof.variation import Variation

STATEMENT_V1 = "https://in-toto.io/Statement/v1"
PROVENANCE_V1 = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:silvermetal:iso-build:v1"
"""Names the meaning of externalParameters and resolvedDependencies below."""
WORKER_PREFIX = "urn:silvermetal:worker:"
MAX_STATEMENT_BYTES = 4 * 1024 * 1024

FileName = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,126}\z")]
"""A plain file name: no separator, no leading dot, so that it cannot leave a folder."""
BuildId = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{32}\z")]
"""The master's id of one build: 32 random hex digits, never used twice."""
Ref = Annotated[str, StringConstraints(pattern=r"\Arefs/(tags|heads)/[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}\z")]
"""A full Git reference name."""


class DigestSet(Record):
    """in-toto DigestSet, the two algorithms that are used here."""

    sha256: Hex64 | None = None
    git_commit: Annotated[Commit | None, Field(alias="gitCommit")] = None


class Subject(Record):
    """The artefact: in-toto ResourceDescriptor with name and digest."""

    name: FileName
    digest: DigestSet


class Dependency(Record):
    """One resolved input. Packages carry name, version and digest; the others what they have."""

    name: Line
    digest: DigestSet | None = None
    version: Annotated[Line | None, Field(alias="silvermetal_version")] = None


class ExternalParameters(Record):
    """What the master asked for."""

    repository: Line
    ref: Ref
    commit: Commit
    recipe: Name


class InternalParameters(Record):
    """Under which pins, and the effective values that the build read back (``BUILD_INFO``)."""

    pins: Sha256
    build_info: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=32768)]]


class BuildDefinition(Record):
    """SLSA BuildDefinition."""

    build_type: Annotated[Literal["urn:silvermetal:iso-build:v1"], Field(alias="buildType")]
    external_parameters: Annotated[ExternalParameters, Field(alias="externalParameters")]
    internal_parameters: Annotated[InternalParameters, Field(alias="internalParameters")]
    resolved_dependencies: Annotated[
        tuple[Dependency, ...], Field(alias="resolvedDependencies", min_length=1, max_length=20000)
    ]


class Builder(Record):
    """SLSA Builder: the worker."""

    id: Annotated[str, StringConstraints(pattern=r"\Aurn:silvermetal:worker:[a-z0-9][a-z0-9._-]{0,63}\z")]


class Metadata(Record):
    """SLSA BuildMetadata; times are the worker's."""

    invocation_id: Annotated[BuildId, Field(alias="invocationId")]
    started_on: Annotated[Time, Field(alias="startedOn")]
    finished_on: Annotated[Time, Field(alias="finishedOn")]


class Byproduct(Record):
    """A thing that the build also made, by name and digest (logs, audit report)."""

    name: FileName
    digest: DigestSet


class RunDetails(Record):
    """SLSA RunDetails."""

    builder: Builder
    metadata: Metadata
    byproducts: Annotated[tuple[Byproduct, ...], Field(max_length=64)] = ()


class Artefact(Record):
    """What the worker found the artefact to be. ``size`` is in bytes."""

    size: Annotated[int, Field(ge=0, lt=2**43)]
    iso9660: bool
    """A primary volume descriptor stands at sector 16 (ECMA-119 clause 8.4)."""
    bootable: bool
    """A boot record volume descriptor names an El Torito catalogue that lies in the image."""
    chunks: Annotated[tuple[Hex64, ...], Field(max_length=2**21)]
    """SHA-256 of each 4 MiB chunk, in order."""


class Predicate(Record):
    """SLSA Provenance v1 with our extension fields."""

    build_definition: Annotated[BuildDefinition, Field(alias="buildDefinition")]
    run_details: Annotated[RunDetails, Field(alias="runDetails")]
    artefact: Annotated[Artefact, Field(alias="silvermetal_artefact")]
    host: Annotated[Name, Field(alias="silvermetal_host")]
    evidence: Annotated[HostEvidence, Field(alias="silvermetal_hostEvidence")]
    nonce: Annotated[Hex64, Field(alias="silvermetal_nonce")]
    keyed_digest: Annotated[Hex64, Field(alias="silvermetal_keyedDigest")]
    """HMAC-SHA-256 of the artefact under the nonce."""
    variation: Annotated[Variation | None, Field(alias="silvermetal_variation")] = None
    """What was varied on purpose, as the host found it in effect. It is no input: outside the pins by definition."""
    attribution: Annotated[BuildId | None, Field(alias="silvermetal_attribution")] = None
    """Made to explain this diverged build, and for no verdict."""


class Statement(Record):
    """The whole statement."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[tuple[Subject, ...], Field(min_length=1, max_length=1)]
    predicate_type: Annotated[Literal["https://slsa.dev/provenance/v1"], Field(alias="predicateType")]
    predicate: Predicate

    @classmethod
    def read(cls, data: bytes, what: str = "statement") -> Statement:
        """Read a signed payload; :raises MalformedError: with the path of what is wrong."""
        return cls.parse(data, limit=MAX_STATEMENT_BYTES, what=what)

    @property
    def iso_sha256(self) -> str:
        """The artefact's digest, 64 hex digits (empty when the statement names none, which the verdict refuses)."""
        return self.subject[0].digest.sha256 or ""

    @property
    def external(self) -> ExternalParameters:
        """What the build was asked for."""
        return self.predicate.build_definition.external_parameters

    @property
    def internal(self) -> InternalParameters:
        """Pins and effective values."""
        return self.predicate.build_definition.internal_parameters

    @property
    def worker(self) -> str:
        """The worker that says it built."""
        return self.predicate.run_details.builder.id.removeprefix(WORKER_PREFIX)


def make_statement(
    *,
    build: str,
    parameters: ExternalParameters,
    internal: InternalParameters,
    dependencies: tuple[Dependency, ...],
    iso_name: str,
    measured: Measurement,
    iso9660: bool,
    bootable: bool,
    host: str,
    worker: str,
    evidence: HostEvidence,
    nonce: str,
    byproducts: tuple[Byproduct, ...] = (),
    variation: Variation | None = None,
    attribution: str | None = None,
) -> Statement:
    """Put one worker's statement together."""
    return Statement(
        type="https://in-toto.io/Statement/v1",
        subject=(Subject(name=iso_name, digest=DigestSet(sha256=_hex(measured.sha256))),),
        predicate_type="https://slsa.dev/provenance/v1",
        predicate=Predicate(
            build_definition=BuildDefinition(
                build_type="urn:silvermetal:iso-build:v1",
                external_parameters=parameters,
                internal_parameters=internal,
                resolved_dependencies=dependencies,
            ),
            run_details=RunDetails(
                builder=Builder(id=f"{WORKER_PREFIX}{worker}"),
                metadata=Metadata(invocation_id=build, started_on=evidence.started, finished_on=evidence.finished),
                byproducts=byproducts,
            ),
            artefact=Artefact(
                size=measured.size,
                iso9660=iso9660,
                bootable=bootable,
                chunks=tuple(_hex(chunk) for chunk in measured.chunks),
            ),
            host=host,
            evidence=evidence,
            nonce=nonce,
            keyed_digest=_hex(measured.keyed),
            variation=variation or None,
            attribution=attribution,
        ),
    )


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
