"""What the decision over one build looks at: the same for the judge and for the recovery at start.

Rules:

- Policy, hosts and operators are those of the settings as they are now; the size floor is the recipe's at the commit.
- A tag asks for what a release asks for.
"""

from __future__ import annotations

from datetime import UTC, datetime

from silvermetal_proof.model import format_time
from silvermetal_proof.verdict import Policy, Submission
from silvermetal_proof.verdict.records import Case

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.settings import Settings


def case_of(record: BuildRecord, settings: Settings, submissions: tuple[Submission, ...]) -> Case:
    """The case of ``record`` with these submissions, as of now."""
    request = record.request
    return Case(
        request=request,
        submissions=submissions,
        policy=Policy(
            quorum=settings.policy.quorum,
            min_independence=settings.policy.min_independence,
            size_floor=record.size_floor,
            release=request.ref.startswith("refs/tags/"),
        ),
        hosts=settings.hosts,
        operators=settings.operators,
        at=format_time(datetime.now(UTC)),
    )
