"""How the service is: workers, queue, what runs, the last verdicts, disk, the ledger's head.

Rules:

- The running master is asked by its own REST interface; one that does not answer is said to be down, and the same is
  read from its database. Verdicts, ledger and disk are always read from the records.
- Nothing is written, and nothing that is broken hides the rest: it stands as a sentence in its place.
- Times are RFC 3339, ages and waits are seconds, sizes bytes.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from silvermetal_proof import ProofError
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.model import format_time
from silvermetal_proof.statement import PublicKey
from silvermetal_proof.verdict import verify_verdict

from silvermetal_master.errors import SettingsError
from silvermetal_master.history import Asked, of_database
from silvermetal_master.run import STATE_FOLDER, config_of
from silvermetal_master.services.presence import read_seen
from silvermetal_master.settings import Settings, load

ANSWER_SECONDS = 5
LAST_VERDICTS = 5
MAX_ANSWER_BYTES = 16 * 1024 * 1024


def address_of(settings: Settings) -> str:
    """Where the master's web answers on this machine; its public address where that cannot be told."""
    kind, _, rest = settings.master.web.partition(":")
    port, *options = rest.split(":")
    if kind != "tcp" or not port.isdigit():
        return settings.master.url
    interface = next((o.removeprefix("interface=") for o in options if o.startswith("interface=")), "")
    return f"http://{'127.0.0.1' if interface in ('', '0.0.0.0') else interface}:{port}/"  # noqa: S104 - it is compared


def _ask(base: str, path: str) -> Any:
    with urllib.request.urlopen(f"{base}api/v2/{path}", timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - own master
        return json.loads(answer.read(MAX_ANSWER_BYTES))


def of_master(base: str) -> Asked:
    """What the running master says. :raises OSError: when it does not answer. :raises ValueError: when wrongly."""
    workers = {w["name"]: bool(w["connected_to"]) for w in _ask(base, "workers")["workers"]}
    builders = {b["builderid"]: b["name"] for b in _ask(base, "builders")["builders"]}
    waiting = _ask(base, "buildrequests?complete=false&claimed=false")["buildrequests"]
    running = _ask(base, "builds?complete=false")["builds"]
    return Asked(
        workers=workers,
        waiting=[(builders.get(r["builderid"], "?"), int(r["submitted_at"])) for r in waiting],
        running=[(builders.get(b["builderid"], "?"), int(b["number"]), int(b["started_at"])) for b in running],
    )


def _or_sentence(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except (ProofError, SettingsError, OSError, ValueError) as error:
        return {"problem": str(error)[:1000]}


def _ledger(settings: Settings, state: Path) -> dict[str, Any]:
    key = PublicKey((settings.folder / "master.pub").read_text(encoding="ascii").strip())
    book = Ledger(state / "ledger", settings.ledger.origin, key)
    head = book.checkpoint()
    size = head.size if head is not None else 0
    verdicts = []
    for index in range(max(0, size - LAST_VERDICTS), size):
        verdict = verify_verdict(book.entry(index), key).verdict
        verdicts.append(
            {"entry": index, "ref": verdict.ref, "outcome": str(verdict.outcome), "decided": verdict.decided,
             "summary": verdict.summary}
        )  # fmt: skip
    return {
        "origin": settings.ledger.origin,
        "size": size,
        "root": head.root.hex() if head is not None else None,
        "last": verdicts[::-1],
    }


def _disk(basedir: Path) -> dict[str, int]:
    usage = shutil.disk_usage(basedir)
    return {"free": usage.free, "total": usage.total}


def status(basedir: Path) -> dict[str, Any]:
    """All of it, as plain data. :raises SettingsError: when ``basedir`` is no master's folder."""
    settings = load(config_of(basedir), secrets_needed=False, judging=True)
    state, now = basedir / STATE_FOLDER, datetime.now(UTC)
    base, why = address_of(settings), None
    try:
        asked = of_master(base)
    except (OSError, ValueError, KeyError) as error:
        why = f"{base}: expected the master's answer, got {error}"
        asked = _or_sentence(lambda: of_database(basedir, settings.database))
    found: dict[str, Any] = {
        "master": {"up": why is None, "address": base, "problem": why},
        "disk": _or_sentence(lambda: _disk(basedir)),
        "ledger": _or_sentence(lambda: _ledger(settings, state)),
    }
    known = asked if isinstance(asked, Asked) else Asked({}, [], [])
    if not isinstance(asked, Asked):
        found["database"] = asked
    seen = read_seen(state)
    found["workers"] = [
        {
            "host": h.host,
            "worker": h.worker,
            "connected": why is None and known.workers.get(h.worker, False),
            "last_seen": format_time(now) if why is None and known.workers.get(h.worker) else seen.get(h.worker),
            "revoked": h.revoked,
        }
        for h in settings.hosts
    ]
    stamp = int(now.timestamp())
    found["waiting"] = [{"builder": b, "seconds": max(0, stamp - at)} for b, at in known.waiting]
    found["running"] = [
        {"builder": b, "number": number, "seconds": max(0, stamp - at)} for b, number, at in known.running
    ]
    return found


def describe(found: dict[str, Any]) -> str:
    """The same in lines for people."""
    master = found["master"]
    lines = [f"master   {'up, ' + master['address'] if master['up'] else 'DOWN: ' + master['problem']}"]
    for w in found["workers"]:
        how = "connected" if w["connected"] else f"away, last seen {w['last_seen'] or 'never'}"
        lines.append(f"worker   {w['worker']} on {w['host']}: {'revoked ' + w['revoked'] if w['revoked'] else how}")
    if "database" in found:
        lines.append(f"database {found['database']['problem']}")
    oldest = max((r["seconds"] for r in found["waiting"]), default=0)
    lines.append(f"queue    {len(found['waiting'])} wait" + (f", the oldest for {oldest} s" if oldest else ""))
    lines += [f"running  {r['builder']} build {r['number']}, for {r['seconds']} s" for r in found["running"]]
    disk = found["disk"]
    lines.append(f"disk     {disk.get('problem') or '{free} of {total} bytes free'.format(**disk)}")
    ledger = found["ledger"]
    lines.append(f"ledger   {ledger.get('problem') or '{size} entries, root {root}'.format(**ledger)}")
    lines += [f"verdict  {v['decided']} {v['ref']} {v['outcome']}: {v['summary']}" for v in ledger.get("last", ())]
    return "\n".join(lines) + "\n"
