"""The builds that explain a divergence: how each is ordered, and what its answer says. The search is in ``proof``.

Layout: ``attribution/inquiry.json`` in the diverged build's record is the whole state; each round of builds has a
folder ``attribution/<round's id>/`` with ``request.json``, ``seal.key`` and ``orders/<host>.json``. The end is
``attribution.json`` and ``attribution.html`` beside the verdict.

Rules:

- Only of a build whose verdict is DIVERGED and recorded, looked at each time (H3, H4); nothing of the verdict
  is touched.
- Each build has an id, a nonce and a sealing key of its own, and its order says what it is for: its statement is
  evidence for the inquiry and is refused by every verdict.
- What comes back is examined as a verdict's statements are, and must come from the inputs of the diverged build.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from silvermetal_proof import ProofError, canonical
from silvermetal_proof.attribution import Conclusion, Inquiry, Question, Tried, describe, page, summary
from silvermetal_proof.errors import printable
from silvermetal_proof.order import Order
from silvermetal_proof.seal import SealingKey
from silvermetal_proof.statement import Statement
from silvermetal_proof.statement.dsse import parse, payload_of
from silvermetal_proof.variation import Variation
from silvermetal_proof.verdict import BuildRequest, Outcome, Submission, drift
from silvermetal_proof.verdict.examine import examine

from silvermetal_master.build_store import MAX_REQUEST_BYTES, BuildRecord, NoSuchBuildError
from silvermetal_master.case_of import case_of
from silvermetal_master.settings import Settings

INQUIRY = "attribution/inquiry.json"
REPORT, PAGE = "attribution.json", "attribution.html"
MAX_REPORT_BYTES = 8 * 1024 * 1024
_ROUND = re.compile(r"\A[0-9a-f]{32}\Z")


def check_admissible(record: BuildRecord) -> None:
    """:raises NoSuchBuildError: unless the build diverged and its verdict is recorded."""
    if not record.judged or record.verdict.outcome is not Outcome.DIVERGED:
        raise NoSuchBuildError(f"build {record.id}: expected a verdict {Outcome.DIVERGED}, got none or another")
    if not record.file("ledger-index").exists():
        raise NoSuchBuildError(f"build {record.id}: expected its verdict in the ledger, got none")


def question_of(record: BuildRecord, settings: Settings, a: str, b: str) -> Question:
    """What is to be found out about two hosts. :raises NoSuchBuildError: when there is nothing to find out."""
    built = {h.host: h.iso_sha256 for h in record.verdict.hosts if h.valid}
    first, second = built.get(a), built.get(b)
    if first is None or second is None or first == second:
        raise NoSuchBuildError(f"expected two digests of {a} and {b}, got {'one' if first == second else 'less'}")
    for host in (a, b):
        entry = settings.host(host)
        if entry is None or entry.revoked is not None:
            raise NoSuchBuildError(f"{host}: expected an enrolled host that is not revoked, got none")
    plans = record.request.variations
    return Question.about(
        build=record.id,
        hosts=(a, b),
        plans=(plans.get(a, Variation()), plans.get(b, Variation())),
        digests=(first, second),
        budget=settings.attribution.budget,
        repeats=settings.attribution.repeats,
    )


def load(record: BuildRecord) -> Inquiry | None:
    """The inquiry as it stands; None when none was begun."""
    file = record.file(INQUIRY)
    return Inquiry.read(file.read_bytes()) if file.exists() else None


def save(record: BuildRecord, inquiry: Inquiry) -> None:
    """Keep the inquiry: whatever comes, what was built need not be built again."""
    record.write(INQUIRY, inquiry.encode())


def close_rounds(record: BuildRecord) -> None:
    """End every round that is under way."""
    for path in record.file("attribution").glob("*/seal.key"):
        path.unlink(missing_ok=True)


def report_of(record: BuildRecord) -> dict[str, Any] | None:
    """The report that is kept beside the verdict, if there is one."""
    file = record.file(REPORT)
    if not file.exists() or file.stat().st_size > MAX_REPORT_BYTES:
        return None
    value = json.loads(file.read_bytes())
    return value if isinstance(value, dict) else None


class Round:
    """One round of builds, one a host at most."""

    def __init__(self, record: BuildRecord, name: object) -> None:
        if not isinstance(name, str) or not _ROUND.match(name):
            raise NoSuchBuildError(f"expected the id of a round of builds, got {str(name)[:80]!r}")
        self.record = record
        self.id = name
        self._at = f"attribution/{name}"

    @classmethod
    def open(cls, record: BuildRecord, question: Question, builds: tuple[tuple[str, ...], ...]) -> Round:
        """Write what is asked of the hosts."""
        this = cls(record, secrets.token_hex(16))
        key = SealingKey.generate()
        nonces: dict[str, str] = {}
        variations: dict[str, Variation] = {}
        record.file(this._at).mkdir(parents=True)
        for factors in map(frozenset, builds):
            host = question.host_of(factors)
            nonces[host], variation = secrets.token_hex(32), question.variation_of(factors)
            if variation:
                variations[host] = variation
            order = Order.read(record.file("orders/{host}.json", host).read_bytes())
            changes = {
                "build": this.id,
                "nonce": nonces[host],
                "seal_key": key.public_hex,
                "variation": variation or None,
                "attribution": record.id,
            }
            record.write(
                f"{this._at}/orders/{{host}}.json", order.model_copy(update=changes).encode(), host=host, secret=True
            )
        changes = {"build": this.id, "nonces": nonces, "variations": variations, "attribution": record.id}
        record.write(f"{this._at}/request.json", record.request.model_copy(update=changes).encode(), secret=True)
        record.write(f"{this._at}/seal.key", key.to_hex().encode(), secret=True)
        return this

    @property
    def request(self) -> BuildRequest:
        """What was asked."""
        data = self.record.file(f"{self._at}/request.json").read_bytes()
        return BuildRequest.parse(data, limit=MAX_REQUEST_BYTES, what="request")

    def order_of(self, host: str) -> Path:
        """The path of a host's order. :raises NoSuchBuildError: when the round is over, or did not ask this host."""
        check_admissible(self.record)
        if not self.record.file(f"{self._at}/seal.key").exists():
            raise NoSuchBuildError(f"round {self.id}: expected one that is under way, got one that is over or none")
        order = self.record.file(f"{self._at}/orders/{{host}}.json", host)
        if not order.exists():
            raise NoSuchBuildError(f"round {self.id} did not ask host {host}")
        return order

    def sealing_key(self) -> SealingKey:
        """The private key of this round."""
        return SealingKey.from_hex(self.record.file(f"{self._at}/seal.key").read_text(encoding="ascii"))

    def close(self) -> None:
        """Nothing that was sealed for this round opens any more, and nobody gets its orders."""
        self.record.file(f"{self._at}/seal.key").unlink(missing_ok=True)

    def answer(self, settings: Settings, factors: tuple[str, ...], submission: Submission) -> Tried:
        """What one host's answer says, examined."""
        case = replace(case_of(self.record, settings, (submission,)), request=self.request)
        found = examine(case, submission)
        seconds = found.result.seconds or 0
        problem = found.result.problem
        if found.statement is not None:
            problem = self._other_inputs(submission.host, found.statement)
        if found.statement is None or problem is not None:
            return Tried(factors=factors, problem=printable(problem or "no statement", 2000), seconds=seconds)
        return Tried(factors=factors, digest=found.statement.iso_sha256, seconds=seconds)

    def _other_inputs(self, host: str, statement: Statement) -> str | None:
        """Other inputs than those of the build that diverged say nothing about it."""
        try:
            envelope = parse(self.record.file("statements/{host}.json", host).read_bytes(), "statement")
            before = Statement.read(payload_of(envelope, "statement"))
        except (ProofError, OSError) as error:
            return f"the statement of the diverged build cannot be read: {error}"
        names = [d.name for d in drift({"now": statement, "before": before}, self.request.expected_inputs)]
        return f"built from other inputs than the diverged build: {', '.join(names[:5])}" if names else None


def conclude(record: BuildRecord, inquiry: Inquiry, conclusion: Conclusion) -> str:
    """Write the report beside the verdict and return its sentence."""
    said = summary(inquiry, conclusion)
    value = {
        "summary": said,
        "conclusion": conclusion.plain(),
        "inquiry": inquiry.plain(),
        "text": describe(inquiry, conclusion),
    }
    record.write(PAGE, page(inquiry, conclusion).encode())
    record.write(REPORT, canonical.encode(value))
    return said
