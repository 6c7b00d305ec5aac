"""A real master whose hosts are liars (``bot.py``): attacks on it take seconds, for nothing is built.

Rules:

- The master, its repository and its ledger are real; a liar whose attack is empty tells of an honest build, so the
  baseline is REPRODUCED at I2 (each liar connects from an address of its own).
- :meth:`Hostile.refused` is how an attack's end is looked at: outcome, words, and the ledger's entry, read back by key.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.build_store import BuildStore
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import PublicKey
from silvermetal_proof.verdict import Outcome, Verdict, verify_verdict

from tests.support import bot
from tests.support.processes import Program, free_port, run
from tests.support.service import BIN, RECIPE, Service, TinyWorker

ORIGIN = "silvermetal/ledger"
PASSWORD = "correct horse battery"
OPERATOR = "olga"
# DIVERGED names both digests instead: neither is the expected one.
_SAYS_WHAT_WAS_ASKED = ("expected", "policy asks for", "same inputs, different bytes", "did not hash its ISO")


@dataclass
class Liar(TinyWorker):
    """One lying host; ``address`` is where it connects from."""

    address: str = "127.0.0.1"
    port: int = 0

    def attack(self, code: str) -> None:
        """What ``bot.py`` reads for each build; empty for honest words."""
        new = self.directory / "attack.new"
        new.write_text(code)
        new.replace(self.directory / "attack.py")

    def start(self, before: str = "") -> None:
        argv = [sys.executable, bot.__file__, str(self.directory), str(self.port), self.address]
        self.program = Program(argv, self.directory / "worker.log")


class Hostile(Service):
    """A service whose workers are liars."""

    @property
    def liars(self) -> dict[str, Liar]:
        return {name: worker for name, worker in self.workers.items() if isinstance(worker, Liar)}

    def add_worker(self, host: str) -> None:
        super().add_worker(host)
        plain = self.workers[host]
        address = f"127.0.0.{len(self.workers)}"
        self.workers[host] = Liar(host, plain.directory, plain.store, plain.machine_id, None, address, self.pb)

    @property
    def master_key(self) -> PublicKey:
        return PublicKey((self.config / "master.pub").read_text().strip())

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.state / "ledger", ORIGIN, self.master_key)

    def store_note(self, ref: str) -> dict[str, Any] | None:
        """What the master noted last of a ref."""
        return BuildStore(self.state).newest(ref)

    def recorded(self) -> list[Verdict]:
        """Every verdict of the ledger, each checked against the master's key, all against the checkpoint."""
        count = len(self.ledger.check())
        return [verify_verdict(self.ledger.entry(i), self.master_key).verdict for i in range(count)]

    def judge(self, tag: str, **attacks: str) -> Verdict:
        """Push ``tag`` while hosts play their attacks (``host_a="…"``); return the verdict, which must be recorded."""
        for name, liar in self.liars.items():
            liar.attack(attacks.get(name.replace("-", "_"), ""))
        self.push_tag(tag)
        verdict: Verdict = self.verdict(tag)
        assert verdict in self.recorded(), "the ledger has every verdict, refusals too"
        return verdict

    def refused(self, tag: str, outcome: Outcome, *words: str, **attacks: str) -> Verdict:
        """An attack that must end in ``outcome``, with ``words`` in its text."""
        verdict = self.judge(tag, **attacks)
        told = "\n".join((verdict.summary, *verdict.reasons))
        assert verdict.outcome is outcome, told
        assert any(word in told for word in _SAYS_WHAT_WAS_ASKED), f"expected and got are in it: {told}"
        assert [word for word in words if word not in told] == [], told
        self.wait_idle()
        newest = self.builds_of("verify")[-1]
        assert newest["results"] != 0, "a refusal is never green"
        return verdict


def locked_package(folder: Path) -> bytes:
    """A lock with one real package: it can be had at any time, so that pinning need not resolve a lock each time."""
    target = folder / "hello.lock"
    argv = [f"{BIN}/silvermetal-resolve-lock", "--architecture", "amd64", "--package", "hello", "-o", str(target)]
    run(argv, timeout=120)
    lock = json.loads(target.read_bytes())
    lock["packages"] = [p for p in lock["packages"] if p["name"] == "hello"]
    return json.dumps(lock).encode()


def commit_lock(running: Service) -> None:
    """Push the service's recipe with such a lock."""
    (running.tree / "config" / f"{RECIPE}.lock").write_bytes(locked_package(running.folder))
    running.git("add", ".")
    running.git("commit", "--quiet", "-m", "a lock")
    running.git("push", "--quiet", "origin", "main")


@contextlib.contextmanager
def hostile(folder: Path, *, operator: bool = False, kind: type[Hostile] = Hostile, **policy: int) -> Iterator[Any]:
    """A running master with two liars; ended at the end."""
    if shutil.which("git") is None:
        pytest.skip("this machine lacks the program git")
    image = f"sha256:{'5' * 64}"
    running = kind(folder, free_port(), free_port(), "unix:///nowhere", image)
    running.write_settings(["host-a", "host-b"], **{"min_independence": 2, **policy})
    if operator:
        run([f"{BIN}/silvermetal-master", "operator", str(running.config), OPERATOR], input=PASSWORD + "\n")
    running.make_repository()
    commit_lock(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()
