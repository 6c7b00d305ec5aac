"""One submission, examined: is this a statement of this host, for this build, about a plausible artefact?

Rules:

- Each check says got and expected; the first that fails is the host's problem. Nothing is taken from the envelope to
  decide which key, nonce or worker to expect: all of that comes from the enrolment and the request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError, ProofError, SignatureError, printable
from silvermetal_proof.host.enrolment import HostEntry
from silvermetal_proof.host.evidence import Observation
from silvermetal_proof.model import parse_time
from silvermetal_proof.statement.dsse import verify
from silvermetal_proof.statement.schema import Statement
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict.records import BuildRequest, Case, HostResult, Submission

_CHUNK = 4 * 1024 * 1024
MAX_PROBLEM = 2000


@dataclass(frozen=True)
class Examined:
    """A host's result, with the statement and what else the decision needs when it is valid."""

    result: HostResult
    statement: Statement | None
    entry: HostEntry | None
    observation: Observation | None
    ours: bool


def examine(case: Case, submission: Submission) -> Examined:
    """Examine one host's submission; never raises."""
    observation = submission.observation
    entry = next((h for h in case.hosts if h.host == submission.host), None)
    statement: Statement | None = None
    problem = submission.problem
    digest = None
    if submission.broken is not None:
        problem = submission.broken
    elif submission.envelope is not None:
        digest = sha256(submission.envelope)
        try:
            statement = _checked(case, submission, entry)
        except ProofError as error:
            problem = str(error)
    elif problem is None:
        problem = "no statement: expected one before the deadline, got none"
    return Examined(
        result=HostResult(
            host=submission.host,
            worker=observation.worker if observation is not None else None,
            answered=submission.envelope is not None or submission.broken is not None,
            valid=statement is not None,
            problem=None if statement is not None or problem is None else printable(problem, MAX_PROBLEM),
            iso=statement.subject[0].name if statement else None,
            iso_sha256=statement.iso_sha256 if statement else None,
            size=statement.predicate.artefact.size if statement else None,
            statement=digest,
            peer=observation.peer if observation is not None else None,
            tls_identity=observation.tls_identity if observation is not None else None,
            evidence=statement.predicate.evidence if statement else None,
            seconds=_seconds(observation),
            variation=statement.predicate.variation if statement else None,
        ),
        statement=statement,
        entry=entry,
        observation=observation,
        ours=submission.ours,
    )


def _seconds(observation: Observation | None) -> int | None:
    if observation is None:
        return None
    return int((parse_time(observation.finished) - parse_time(observation.started)).total_seconds())


def _checked(case: Case, submission: Submission, entry: HostEntry | None) -> Statement:
    """The verified statement. :raises ProofError: at the first check that fails."""
    host = submission.host
    if entry is None:
        raise SignatureError(f"host {host} is not enrolled", expected="an entry in config/hosts/", got="none")
    entry.check_valid_at(case.at)
    if submission.observation is None:
        raise ProofError(f"{host}: the master did not observe this build", expected="an observation", got="none")
    if submission.observation.worker != entry.worker:
        raise ProofError(
            f"{host}: answered through another worker", expected=entry.worker, got=submission.observation.worker
        )
    assert submission.envelope is not None
    statement = Statement.read(verify(submission.envelope, entry.key, what=f"statement of {host}"))
    _check_request(case.request, host, entry, statement)
    _check_artefact(case, host, statement)
    return statement


def _check_request(request: BuildRequest, host: str, entry: HostEntry, statement: Statement) -> None:
    """Is it about this build, by this host?"""
    predicate = statement.predicate
    expected_nonce = request.nonces.get(host)
    if expected_nonce is None:
        raise ProofError(f"{host} was not asked", expected=f"one of {', '.join(sorted(request.nonces))}", got=host)
    checks: tuple[tuple[str, object, object], ...] = (
        ("build", request.build, predicate.run_details.metadata.invocation_id),
        ("nonce", expected_nonce, predicate.nonce),
        ("host", host, predicate.host),
        ("worker", entry.worker, statement.worker),
        ("repository", request.repository, statement.external.repository),
        ("ref", request.ref, statement.external.ref),
        ("commit", request.commit, statement.external.commit),
        ("recipe", request.recipe, statement.external.recipe),
        ("pins", request.pins, statement.internal.pins),
        # Evidence of an attribution never counts for a verdict, nor the other way round.
        ("attribution", request.attribution or "none", predicate.attribution or "none"),
        ("variation", _told(request.variations.get(host)), _told(predicate.variation)),
    )
    for name, expected, got in checks:
        if expected != got:
            raise ProofError(f"statement of {host}: {name}", expected=expected, got=got)
    names = [d.name for d in predicate.build_definition.resolved_dependencies]
    if len(names) != len(set(names)):
        # Counted in one pass: a statement may name 20000 inputs, and the master decides on its reactor.
        twice = Counter(names).most_common(1)[0][0]
        raise MalformedError(f"statement of {host} names an input twice", expected="each input once", got=twice)
    metadata, evidence = predicate.run_details.metadata, predicate.evidence
    if (metadata.started_on, metadata.finished_on) != (evidence.started, evidence.finished):
        raise MalformedError(
            f"statement of {host} gives two build intervals",
            expected=f"{evidence.started} to {evidence.finished}",
            got=f"{metadata.started_on} to {metadata.finished_on}",
        )


def _told(variation: Variation | None) -> str:
    return " ".join(variation.arguments) if variation else "none"


def _check_artefact(case: Case, host: str, statement: Statement) -> None:
    """Is it about something that can be a live ISO?"""
    artefact = statement.predicate.artefact
    if statement.iso_sha256 == "":
        raise MalformedError(f"statement of {host} names no ISO digest", expected="subject.digest.sha256", got="none")
    if artefact.size < case.policy.size_floor:
        raise ProofError(
            f"{host}: artefact is below the size floor",
            expected=f"at least {case.policy.size_floor} bytes",
            got=f"{artefact.size} bytes",
        )
    if not artefact.iso9660:
        raise ProofError(f"{host}: artefact is no ISO9660 image", expected="CD001 at byte 32769", got="something else")
    if not artefact.bootable:
        raise ProofError(f"{host}: ISO is not bootable", expected="an El Torito boot catalogue", got="none")
    chunks = -(-artefact.size // _CHUNK)
    if len(artefact.chunks) != chunks:
        raise MalformedError(
            f"statement of {host}: chunk digests do not fit the size", expected=chunks, got=len(artefact.chunks)
        )
