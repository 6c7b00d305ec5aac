"""silvermetal-base on a real master with two workers: a tag is reproduced, a dry run's dummy is invalid, a failure is told."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildRecord, BuildStore
from silvermetal_master.wait import wait_for
from silvermetal_proof.statement import Statement
from silvermetal_proof.verdict import Outcome

from tests.support.base_recipe import RECIPE, builder_image, lay_out, load
from tests.support.engine import private_engine
from tests.support.processes import free_port, run
from tests.support.service import BIN, Service, missing_for_service
from tests.support.upstream import ARCHIVE, TAG, Signer, Upstream, add_submodule, conf_for, has

pytestmark = pytest.mark.system
EPOCH = "1784070038"


class BaseService(Service):
    """A service whose repository has the recipe and the stand-in as its submodule."""

    upstream: Upstream

    def add_worker(self, host: str) -> None:
        super().add_worker(host)
        worker = self.workers[host]
        file = worker.directory / "worker.toml"
        text = file.read_text().replace('snapshots = ""', f'snapshots = "{ARCHIVE}"')
        file.write_text(text.replace('network = "bridge"', 'network = "none"'))
        # The stand-in's address is a folder, which Git takes for a submodule only where it is told to.
        (worker.directory / ".gitconfig").write_text('[protocol "file"]\n\tallow = always\n')
        argv = worker.argv
        worker.argv = lambda before="": argv(f"env HOME={worker.directory} {before}".strip())  # type: ignore[method-assign]

    def lay_out(self, signer: Signer) -> None:
        """The tree with the recipe, in place of the tiny one."""
        self.upstream = Upstream(self.folder / "upstream", signer)
        self.git("rm", "-r", "--quiet", ".")
        lay_out(self.tree, conf_for(signer))
        (self.tree / "config" / "builder-image.env").write_text(f"BUILDER_IMAGE={self.image}\n")
        self.push("the recipe")

    def push(self, message: str) -> None:
        self.git("add", "--all")
        add_submodule(self.tree, self.upstream)
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        self.git("push", "--quiet", "origin", "main")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseService]:
    lacking = missing_for_service() or next(
        (f"the program {t}" for t in ("gpg", "mksquashfs", "systemd-socket-activate") if not has(t)), None
    )
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    folder = tmp_path_factory.mktemp("base")
    with contextlib.ExitStack() as stack:
        signer = Signer(folder)
        stack.callback(signer.close)
        engine = stack.enter_context(private_engine())
        running = BaseService(folder, free_port(), free_port(), engine.url, load(engine, builder_image()), RECIPE)
        running.write_settings(["host-a", "host-b"], deadline=90, build_timeout=60)
        running.make_repository()
        running.lay_out(signer)
        stack.callback(running.stop)
        running.start()
        yield running


def clean(base: BaseService) -> None:
    """No container and no volume but the cache's is left of any build."""
    for argv in (["ps", "--all", "--quiet"], ["volume", "ls", "--quiet"]):
        left = run(["docker", "-H", base.engine, *argv]).split()
        assert [x for x in left if x != "silvermetal-apt-cache"] == []


def statement_of(record: BuildRecord, host: str) -> Statement:
    envelope = json.loads(record.file("statements/{host}.json", host).read_bytes())
    return Statement.read(base64.b64decode(envelope["payload"]))


def said_by(base: BaseService, host: str) -> str:
    """Everything that the newest build of a host logged."""
    build = base.builds_of(f"iso@{host}")[-1]["buildid"]
    steps = base.api(f"builds/{build}/steps")["steps"]
    logs = [log for step in steps for log in base.api(f"steps/{step['stepid']}/logs")["logs"]]
    return "".join(base.api(f"logs/{log['logid']}/contents")["logchunks"][0]["content"] for log in logs)


def test_a_tag_is_reproduced_and_its_inputs_are_the_snapshot_and_the_submodules(
    base: BaseService, tmp_path: Path
) -> None:
    base.push_tag("v1-base")
    verdict = base.verdict("v1-base", 180)
    assert verdict.outcome is Outcome.REPRODUCED, verdict
    record = BuildStore(base.state).record(verdict.build)
    for host in ("host-a", "host-b"):
        statement = statement_of(record, host)
        inputs = {d.name: d for d in statement.predicate.build_definition.resolved_dependencies}
        submodule = inputs["submodule derivative-maker"].digest
        assert submodule is not None and submodule.git_commit == base.upstream.commit
        assert inputs["debian snapshot"].version == "trixie 20260720T082444Z"
        assert statement.internal.build_info["EFFECTIVE_SOURCE_DATE_EPOCH"] == EPOCH
    base.wait_idle()
    clean(base)
    # The record is checked by the command that anyone has, and the live log shows upstream's own steps.
    run(
        [
            f"{BIN}/silvermetal-master",
            "wait",
            str(base.basedir),
            "--ref",
            "refs/tags/v1-base",
            "--copy-to",
            str(tmp_path / "out"),
        ]
    )
    key = (base.config / "master.pub").read_text().strip()
    said = run([f"{BIN}/silvermetal", "verify", str(tmp_path / "out"), "--keys", str(base.config / "hosts"),
                "--master-key", key, "--origin", "silvermetal/ledger"])  # fmt: skip
    assert "everything in the folder holds" in said
    assert "INFO: BEGIN: build-steps.d/2800_create-lb-iso" in said_by(base, "host-a")


@pytest.fixture
def misbehaving(base: BaseService) -> Iterator[Callable[[str], None]]:
    def misbehave(how: str) -> None:
        base.upstream.misbehave(how)
        base.push(how or "good again")

    yield misbehave
    misbehave("")


def test_a_dry_runs_dummy_is_invalid_although_both_hosts_agree(
    base: BaseService, misbehaving: Callable[[str], None]
) -> None:
    misbehaving("dry-run")
    base.push_tag("v1-dry")
    verdict = base.verdict("v1-dry", 180)
    assert verdict.outcome is Outcome.INVALID and "size floor" in str(verdict.reasons), verdict
    base.wait_idle()
    clean(base)


def test_a_build_that_fails_is_incomplete_says_why_and_leaves_nothing(
    base: BaseService, misbehaving: Callable[[str], None]
) -> None:
    misbehaving("reprepro-255")
    base.push_tag("v1-fails")
    verdict = base.verdict("v1-fails", 180)
    assert verdict.outcome is Outcome.INCOMPLETE and "step build" in str(verdict.reasons), verdict
    base.wait_idle()
    assert "reprepro: reprepro failed in a way that is not the harmless" in said_by(base, "host-b")
    clean(base)


def test_a_tag_that_upstream_did_not_sign_asks_no_host(base: BaseService, misbehaving: Callable[[str], None]) -> None:
    before = len(base.builds_of("iso@host-a"))
    base.upstream.git("tag", "--force", "-a", "-m", "not signed", TAG)
    base.push_tag("v1-unsigned")
    ended = wait_for(base.basedir, "refs/tags/v1-unsigned", 60)
    assert ended is not None and ended.verdict is None
    assert "expected a signature by one of the allowed signers" in str(ended.failed)
    base.wait_idle()
    assert len(base.builds_of("iso@host-a")) == before
