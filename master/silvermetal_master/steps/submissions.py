"""From Buildbot's requests to what the verdict looks at: one submission a host.

Rules:

- The newest complete SUCCESS build of the request that *this* fan-out created, and of no other (H3, H4, H7): builds
  that ended RETRY came before it and only count as attempts.
- What the master saw (worker, peer) was written by the master's own step; times are the master's.
- An absent statement has a reason that a person understands.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from buildbot.process.results import CANCELLED, EXCEPTION, RETRY, SUCCESS, Results
from silvermetal_proof import ProofError
from silvermetal_proof.errors import printable
from silvermetal_proof.host import Observation
from silvermetal_proof.model import format_time
from silvermetal_proof.seal import SealingKey, open_sealed
from silvermetal_proof.verdict import Submission

from silvermetal_master.steps.collect import OBSERVATION_DATA, STATEMENT_DATA


async def _data(master: Any, build: int, name: str) -> bytes | None:
    value = await master.data.get(("builds", build, "data", name, "value"))
    return None if value is None else bytes(value["raw"])


def _moment(value: Any) -> str:
    moment: datetime = value
    return format_time(moment)


async def _observation(master: Any, build: dict[str, Any], attempts: int) -> Observation | None:
    raw = await _data(master, build["buildid"], OBSERVATION_DATA)
    if raw is None or build["complete_at"] is None:
        return None
    seen = json.loads(raw)
    return Observation(
        worker=seen["worker"],
        peer=seen["peer"],
        tls_identity=seen.get("tls_identity"),
        started=_moment(build["started_at"]),
        finished=_moment(build["complete_at"]),
        attempts=max(1, attempts),
    )


async def _why_failed(master: Any, build: dict[str, Any]) -> str:
    """The step that failed, in its own words."""
    for step in await master.data.get(("builds", build["buildid"], "steps")):
        if step["results"] not in (None, SUCCESS):
            return f"step {step['name']} ended {Results[step['results']]}: {step['state_string']}"
    return f"the build ended {Results[build['results']]}"


async def gather(master: Any, *, host: str, request: int, build_id: str, key: SealingKey, expired: bool) -> Submission:
    """Return what became of one host."""
    builds = await master.data.get(("buildrequests", request, "builds"))
    complete = sorted((b for b in builds if b["complete"]), key=lambda b: b["buildid"])
    good = [b for b in complete if b["results"] == SUCCESS]
    if not good:
        problem, ours = await _absence(master, builds, complete, expired=expired)
        return Submission(host, None, problem=printable(problem, 1000), ours=ours)
    build = good[-1]
    observation = await _observation(master, build, len(complete))
    sealed = await _data(master, build["buildid"], STATEMENT_DATA)
    if sealed is None:
        return Submission(host, observation, problem="its build is green but brought no statement: green is no proof")
    try:
        return Submission(host, observation, envelope=open_sealed(sealed, key=key, build=build_id, host=host))
    except ProofError as error:
        return Submission(host, observation, broken=str(error))


async def _absence(
    master: Any, builds: list[dict[str, Any]], complete: list[dict[str, Any]], *, expired: bool
) -> tuple[str, bool]:
    """Why there is no good build, and whether the cause is the service's own."""
    if not builds:
        return "never began: no worker of this host was free before the deadline (is it connected?)", True
    if not complete:
        return "still building at the deadline" if expired else "did not end", False
    last = complete[-1]
    why = await _why_failed(master, last)
    if last["results"] == CANCELLED and expired:
        return f"stopped at the deadline ({why})", False
    return why, last["results"] in (EXCEPTION, RETRY, CANCELLED)
