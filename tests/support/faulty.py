"""A whole service to which faults are done, and the invariants that hold after each of them.

Rules:

- Each host reaches the master through a proxy of its own, so that one link can fail and the other not.
- :meth:`Faulty.sound` is what every fault ends with: every buildset ended; every tag has a recorded verdict or a noted
  failure; every verdict that was decided is in the ledger; the ledger holds; a REPRODUCED has two hosts and one digest;
  no process of an ended build is left; and the next tag is REPRODUCED.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import PublicKey
from silvermetal_proof.verdict import Outcome, Verdict, verify_verdict

from tests.support.holds import HOOK, Holds
from tests.support.hostile import ORIGIN, commit_lock
from tests.support.processes import Program, free_port, wait_until
from tests.support.proxy import Proxy
from tests.support.service import Service, missing_for_service

RELIEF_SECONDS = 90


class Faulty(Service):
    """A service with a proxy a host, places to hold the master at, and its invariants."""

    def prepare(self) -> None:
        self.proxies: dict[str, Proxy] = {}
        self.tags: list[str] = []
        self.may_be_unnoted: set[str] = set()
        self.holds = Holds(self.basedir / "hold")

    def add_worker(self, host: str) -> None:
        proxy = Proxy(free_port(), self.pb)
        proxy.start()
        self.proxies[host] = proxy
        behind, self.pb = self.pb, proxy.port
        try:
            super().add_worker(host)
        finally:
            self.pb = behind

    def write_settings(self, hosts: Sequence[str], **policy: int) -> None:
        super().write_settings(hosts, **policy)
        cfg = self.config / "master.cfg"
        cfg.write_text(cfg.read_text() + HOOK)

    @property
    def running_master(self) -> Program:
        assert self.master is not None
        return self.master

    def worker_program(self, host: str) -> Program:
        program = self.workers[host].program
        assert program is not None
        return program

    def push_tag(self, tag: str) -> str:
        self.tags.append(tag)
        return super().push_tag(tag)

    def strike_at(self, tag: str, place: str) -> None:
        """Push ``tag`` and wait until the master is at ``place``."""
        self.holds.at(place)
        self.push_tag(tag)
        self.holds.wait(place, self.running_master)

    def wait_step(self, host: str, step: str) -> None:
        """Until ``host`` is in ``step`` of the build that runs now."""

        def in_step() -> bool:
            builds = [b for b in self.builds_of(f"iso@{host}") if not b["complete"]]
            steps = self.api(f"builds/{builds[-1]['buildid']}/steps")["steps"] if builds else []
            return any(s["name"] == step and s["started_at"] and not s["complete"] for s in steps)

        wait_until(in_step, f"{host} in its step {step}", timeout=60, programs=[self.running_master])

    def connections_of(self, host: str) -> list[object]:
        """What Buildbot knows of a host's connections: one, or none."""
        return [c for w in self.api("workers")["workers"] if w["name"] == host for c in w["connected_to"]]

    def reload(self) -> str:
        """SIGHUP to the master, as `buildbot reconfig` does; how it ended: ``complete`` or ``aborted``."""
        log = self.running_master.log
        size = log.stat().st_size
        os.kill(self.running_master.process.pid, signal.SIGHUP)
        end = re.compile(rb"configuration update (complete|aborted|partially)")
        wait_until(lambda: end.search(log.read_bytes()[size:]), "the new settings", programs=[self.running_master])
        found = end.search(log.read_bytes()[size:])
        assert found is not None
        return found[1].decode()

    def restart_master(self) -> None:
        self.start_master()
        self.wait_connected(*self.workers)

    def restart_worker(self, host: str) -> None:
        self.workers[host].start()
        self.wait_connected(host)

    @property
    def master_key(self) -> PublicKey:
        return PublicKey((self.config / "master.pub").read_text().strip())

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.state / "ledger", ORIGIN, self.master_key)

    def recorded(self) -> list[Verdict]:
        count = len(self.ledger.check())
        return [verify_verdict(self.ledger.entry(i), self.master_key).verdict for i in range(count)]

    def ends(self, tag: str, timeout: float = RELIEF_SECONDS) -> Verdict | None:
        """Wait for the end of ``tag``: its verdict, or None for a noted failure."""
        store = BuildStore(self.state)
        wait_until(lambda: store.newest(f"refs/tags/{tag}"), f"an end of {tag}", timeout=timeout)
        note = store.newest(f"refs/tags/{tag}") or {}
        return store.record(note["build"]).verdict if "build" in note else None

    def sound(self, *, next_tag: str) -> None:
        """The invariants after a fault; :class:`AssertionError` says which one is broken."""
        self.wait_idle(RELIEF_SECONDS)
        self.push_tag(next_tag)
        verdict = self.ends(next_tag)
        assert verdict is not None and verdict.outcome is Outcome.REPRODUCED, f"the next build: {verdict}"
        self.wait_idle(RELIEF_SECONDS)
        recorded = self.recorded()
        for tag in self.tags:
            note = BuildStore(self.state).newest(f"refs/tags/{tag}")
            assert note is not None or tag in self.may_be_unnoted, f"{tag} was pushed and has no end"
        encoded = {v.encode() for v in recorded}
        for folder in (self.state / "builds").iterdir():
            record = BuildRecord(folder)
            if record.judged:
                assert record.verdict.encode() in encoded, f"a verdict was lost: {record.verdict.summary}"
        for one in recorded:
            if one.outcome is Outcome.REPRODUCED:
                digests = {h.iso_sha256 for h in one.hosts}
                assert len(digests) == 1 and None not in digests and len({h.host for h in one.hosts}) >= 2, one
        end = time.monotonic() + 15
        while (left := self.left_behind()) and time.monotonic() < end:
            time.sleep(0.2)
        assert left == [], left

    def left_behind(self) -> list[str]:
        """Processes in a host's builds whose build has ended: by now, all of them."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                at = str((folder / "cwd").readlink())
                if any(at.startswith(f"{w.directory}/builds/") for w in self.workers.values()):
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append(f"{folder.name} {line}")
        return found

    def stop(self) -> None:
        super().stop()
        for proxy in self.proxies.values():
            proxy.stop()


@contextlib.contextmanager
def faulty(folder: Path, engine: str, image: str, **policy: int) -> Iterator[Faulty]:
    """A running service for faults; ended at the end."""
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Faulty(folder, free_port(), free_port(), engine, image)
    running.prepare()
    running.write_settings(["host-a", "host-b"], **policy)
    running.make_repository()
    commit_lock(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()
