"""A commit that leaves its builder image to ``docker/``: made, pushed, read back, and used in the same verification."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.build_store import BuildStore
from silvermetal_master.wait import wait_for
from silvermetal_proof.verdict import Outcome

from tests.support.engine import Engine
from tests.support.processes import run, wait_until
from tests.support.registry import Registry, registry
from tests.support.service import BIN, Service, service

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
EXCEPTION, FAILURE = 4, 2
NAME = "silvermetal/builder"
# What is waited for ends at once when it is there; a busy machine may take long to get there.
AMPLE = {"deadline": 200, "build_timeout": 150}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry") / "r") as running:
        yield running


def _leave_image_to_docker(running: Service) -> None:
    """Change the tiny repository: a Dockerfile that is offline and takes a second."""
    (running.tree / "docker").mkdir()
    (running.tree / "docker" / "Dockerfile.builder").write_text("FROM scratch\nCOPY content /content\n")
    (running.tree / "docker" / "content").write_text("the first\n")
    (running.tree / "config" / "builder-image.env").write_text("BUILDER_IMAGE=docker/\n")
    (running.tree / "config" / "snapshot-pin.env").write_text("SNAPSHOT_TIMESTAMP=20260720T082444Z\nSUITE=trixie\n")
    for script in ("make-builder-image", "docker-archive"):
        shutil.copy(ROOT / "scripts" / script, running.tree / "scripts" / script)
    _commit(running, "docker/ makes the image")


def _commit(running: Service, message: str) -> None:
    running.git("add", ".")
    running.git("commit", "--quiet", "-m", message)
    running.git("push", "--quiet", "origin", "main")


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str], shelf: Registry
) -> Iterator[Service]:
    """Two hosts, of which host-a makes images; no digest is committed anywhere."""
    made = service(tmp_path_factory.mktemp("image"), *tiny_engine, ["host-a", "host-b"], _settings(shelf), **AMPLE)
    with made as up:
        _leave_image_to_docker(up)
        yield up


def _settings(shelf: Registry) -> Any:
    def write(made: Service) -> None:
        with (made.config / "master.toml").open("a") as file:
            file.write(
                f'\n[builder_image]\nrepository = "{shelf.address}/{NAME}"\nhost = "host-a"\n'
                "tries = 3\npause = 1\ndeadline = 300\n"
            )
        for worker in made.workers.values():
            auth = shelf.credentials(worker.directory / "registry.json")
            toml = worker.directory / "worker.toml"
            toml.write_text(toml.read_text().replace('registry_auth = ""', f'registry_auth = "{auth}"'))

    return write


def _image(running: Service, tag: str) -> str:
    """The builder image that the build of a tag was pinned to."""
    store = BuildStore(running.state)
    build = (store.newest(f"refs/tags/{tag}") or {})["build"]
    return str(json.loads(store.record(build).file("pins.json").read_bytes())["builder_image"])


def _made(running: Service) -> int:
    return len(running.builds_of("builder-image"))


def test_the_image_is_made_pushed_read_back_and_used_in_one_run(running: Service, shelf: Registry) -> None:
    running.push_tag("v1-image")
    verdict = running.verdict("v1-image", timeout=180)
    assert verdict.outcome is Outcome.REPRODUCED, verdict
    image = _image(running, "v1-image")
    name, _, digest = image.partition("@")
    assert name == f"{shelf.address}/{NAME}"
    assert shelf.digest(NAME, digest) == digest, "the registry has it by the digest that was pinned"
    running.wait_idle()
    assert _made(running) == 1
    log = "".join(p.read_text(errors="replace") for p in (running.folder / "host-a").glob("*.log"))
    assert "a word of the tests" not in log


def test_the_same_docker_is_not_made_again_and_hosts_bring_the_image_by_digest(
    running: Service, tiny_engine: tuple[str, str]
) -> None:
    before, image = _made(running), _image(running, "v1-image")
    engine = Engine(tiny_engine[0])
    engine.docker("image", "rm", "--force", engine.image_id(image))
    assert engine.image_id(image) == ""
    (running.tree / "payload").write_text("another payload\n" * 4000)
    _commit(running, "nothing of docker/")
    running.push_tag("v2-same")
    assert running.verdict("v2-same", timeout=180).outcome is Outcome.REPRODUCED
    assert (_image(running, "v2-same"), _made(running)) == (image, before)
    assert engine.image_id(image) != "", "preflight brought it"


def _failed(running: Service, tag: str) -> str:
    ended = wait_for(running.basedir, f"refs/tags/{tag}", 180)
    assert ended is not None
    assert ended.verdict is None
    running.wait_idle()
    return str(ended.failed)


def _infra(running: Service) -> str:
    """What the newest verification says, which ended as the service's own trouble; the tag has no end by it."""

    def ended() -> bool:
        return running.builds_of("verify")[-1]["complete"] is True

    wait_until(ended, "the verification to end", timeout=180)
    verify = running.builds_of("verify")[-1]
    assert verify["results"] == EXCEPTION, "nobody's commit is called bad for it"
    steps = {s["name"]: s for s in running.api(f"builds/{verify['buildid']}/steps")["steps"]}
    assert "fan-out" not in steps, "no host was asked"
    running.wait_idle()
    return str(steps["builder-image"]["state_string"])


def _asked(running: Service, before: int) -> None:
    wait_until(lambda: len(running.builds_of("verify")) > before, "a verification", timeout=60)


def test_a_registry_that_is_down_is_infra_and_the_same_tag_goes_on_when_it_is_back(
    running: Service, shelf: Registry
) -> None:
    before = _image(running, "v1-image")
    (running.tree / "docker" / "content").write_text("the second\n")
    _commit(running, "docker/ changed")
    verifications = len(running.builds_of("verify"))
    shelf.stop()
    try:
        commit = running.push_tag("v4-down")
        _asked(running, verifications)
        why = _infra(running)
    finally:
        shelf.start()
    assert why.startswith("INFRA: no builder image: "), why
    assert f"pushed to {shelf.address}/{NAME} 3 times, without success" in why
    assert BuildStore(running.state).newest("refs/tags/v4-down") is None, "no end is noted: the reconciler asks again"
    # Nothing is lost: the same event again goes on.
    argv = [f"{BIN}/silvermetal-master", "notify-push", "--url", f"http://127.0.0.1:{running.web}/change_hook/gitea"]
    argv += ["--secret-file", f"{running.config}/secrets/hook", "--repository-url", str(running.repository)]
    tag = running.git("rev-parse", "refs/tags/v4-down")
    run(argv, input=f"{'0' * 40} {tag} refs/tags/v4-down\n")
    verdict = running.verdict("v4-down", timeout=180)
    assert (verdict.outcome, verdict.commit) == (Outcome.REPRODUCED, commit)
    # A changed Dockerfile is a new digest, in the run that needed it.
    after = _image(running, "v4-down")
    assert after != before
    assert shelf.digest(NAME, after.partition("@")[2]) == after.partition("@")[2]


def test_a_dockerfile_that_cannot_be_built_is_the_commits_fault(running: Service) -> None:
    (running.tree / "docker" / "Dockerfile.builder").write_text("FROM scratch\nCOPY no-such-file /content\n")
    _commit(running, "docker/ is broken")
    running.push_tag("v5-broken")
    why = _failed(running, "v5-broken")
    assert why.startswith("no builder image: making the builder image: it failed: make-builder-image: expected "), why
    assert running.builds_of("verify")[-1]["results"] == FAILURE


def test_credentials_that_the_registry_refuses_are_named_and_never_shown(running: Service, shelf: Registry) -> None:
    auth = running.workers["host-a"].directory / "registry.json"
    (running.tree / "docker" / "Dockerfile.builder").write_text("FROM scratch\nCOPY content /elsewhere\n")
    _commit(running, "docker/ is good again")
    verifications = len(running.builds_of("verify"))
    shelf.credentials(auth, "another word")
    try:
        running.push_tag("v6-refused")
        _asked(running, verifications)
        why = _infra(running)
    finally:
        shelf.credentials(auth)
    assert why.startswith("INFRA: no builder image: "), why
    assert "another word" not in why
