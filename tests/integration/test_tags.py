"""Every kind of tag, and everything that can happen to one, on a real master: the outcome is docs/trust-model.md's."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from silvermetal_master.gitea.events import signature
from silvermetal_proof.verdict import Outcome

from tests.support.hostile import hostile
from tests.support.processes import run, wait_until
from tests.support.service import BIN
from tests.support.tagged import OLD, Tagged

ALICE, STRANGER = "alice@example.org", "mallory@example.org"
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tagged]:
    with hostile(tmp_path_factory.mktemp("tags"), kind=Tagged) as running:
        for who in (ALICE, STRANGER):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", str(running.folder / who)])
        signers = running.config / "signers"
        signers.mkdir()
        (signers / "allowed_signers").write_text(f"{ALICE} {(running.folder / f'{ALICE}.pub').read_text()}")
        running.looked()
        yield running


def _signed(service: Tagged, who: str) -> list[str]:
    return ["-c", "gpg.format=ssh", "-c", f"user.signingKey={service.folder / who}"]


def _sign(service: Tagged, name: str, who: str) -> None:
    service.git(*_signed(service, who), "tag", "-s", "-m", name, name)
    service.git("push", "--quiet", "origin", f"refs/tags/{name}")


def _event(service: Tagged, tag: str, after: str, before: str = "0" * 40) -> int:
    """A signed event, as the forge sends it."""
    body = json.dumps({"ref": f"refs/tags/{tag}", "before": before, "after": after}).encode()
    secret = (service.config / "secrets" / "hook").read_bytes().strip()
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Signature": signature(secret, body),
    }
    url = f"http://127.0.0.1:{service.web}/change_hook/gitea"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _reproduced_once(service: Tagged, tag: str, commit: str) -> None:
    _reproduced(service, tag, commit)
    _once(service, tag)


def _reproduced(service: Tagged, tag: str, commit: str) -> None:
    verdict = service.verdict(tag)
    assert (verdict.outcome, verdict.commit) == (Outcome.REPRODUCED, commit), verdict.summary


def _once(service: Tagged, *tags: str) -> None:
    """After another look, each tag has had one verification, and has one verdict."""
    service.looked()
    service.wait_idle()
    recorded = [v.ref.removeprefix("refs/tags/") for v in service.recorded()]
    for tag in tags:
        assert len(service.verifications(tag)) == 1, tag
        assert recorded.count(tag) == 1, tag


# The reconciler


def test_a_tag_from_before_the_service_is_not_started_and_a_push_of_it_is(service: Tagged) -> None:
    service.looked()
    assert service.verifications(OLD) == []
    entry = service.entry(OLD)
    assert entry is not None and entry.old
    commit = service.git("rev-parse", f"{OLD}^{{commit}}")
    assert _event(service, OLD, service.git("rev-parse", OLD)) == 200
    _reproduced_once(service, OLD, commit)


def test_a_tag_whose_event_was_lost_is_started_once_and_so_is_one_whose_event_comes_late(service: Tagged) -> None:
    with service.no_event():
        service.push_tag("v1-lost")
        object_ = service.git("rev-parse", "v1-lost")
    wait_until(
        lambda: service.verifications("v1-lost"), "its verification", timeout=60, programs=[service.running_master]
    )
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: _event(service, "v1-lost", object_), range(4))) == {200}
    _reproduced_once(service, "v1-lost", service.git("rev-parse", "HEAD"))
    assert _event(service, "v1-lost", service.git("rev-parse", "HEAD")) == 200, "a forge may name the commit instead"
    _reproduced_once(service, "v1-lost", service.git("rev-parse", "HEAD"))


def test_events_and_looks_at_the_same_moment_start_one(service: Tagged) -> None:
    with service.no_event():
        service.push_tag("v1-race")
    object_ = service.git("rev-parse", "v1-race")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _event(service, "v1-race", object_), range(16)))
    _reproduced_once(service, "v1-race", service.git("rev-parse", "HEAD"))


def test_a_tag_that_no_policy_asks_for_and_a_branch_named_like_one_start_nothing(service: Tagged) -> None:
    before = len(service.builds_of("verify"))
    with service.no_event():
        service.tag("nightly")
    service.git("push", "--quiet", "origin", "HEAD:refs/heads/v1-branch")
    service.looked()
    assert len(service.builds_of("verify")) == before
    assert service.entry("nightly") is None
    assert service.entry("v1-branch") is None
    # H9: beside a branch of its name the tag is still the tag.
    old = service.git("rev-parse", "HEAD")
    service.commit("what the branch does not have")
    service.tag("v1-branch")
    _reproduced_once(service, "v1-branch", service.git("rev-parse", "HEAD"))
    assert old != service.git("rev-parse", "HEAD")


def test_the_master_that_was_killed_between_event_and_start_starts_it_after_all(service: Tagged) -> None:
    service.holds.at("before-gotChange")
    service.push_tag("v1-killed")
    service.holds.wait("before-gotChange", service.running_master)
    with service.no_event():
        service.push_tag("v1-down")
    service.restart("kill")
    for tag in ("v1-killed", "v1-down"):
        _reproduced(service, tag, service.git("rev-parse", "HEAD"))
    _once(service, "v1-killed", "v1-down")


def test_a_git_that_hangs_holds_nothing_up_and_is_got_over(service: Tagged) -> None:
    fifo = service.repository / "packed-refs"
    assert not fifo.exists()
    os.mkfifo(fifo)
    try:
        wait_until(lambda: _gits(service), "a git that hangs", timeout=30)
        begun = time.monotonic()
        for _ in range(5):
            service.api("masters")
        assert time.monotonic() - begun < 30, "git is given 60 s: then it was waited for"
    finally:
        _let_go(fifo)
    with service.no_event():
        service.push_tag("v1-after")
    _reproduced_once(service, "v1-after", service.git("rev-parse", "HEAD"))


def _let_go(fifo: Path) -> None:
    """Whoever waits for the fifo reads its end; nobody waits for it again."""
    opened = os.open(fifo, os.O_RDWR)
    fifo.unlink()
    os.close(opened)


def _gits(service: Tagged) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "ls-remote" in line and str(service.repository) in line:
            found.append(line)
    return found


# Kinds of tags


def test_annotated_lightweight_nested_and_old(service: Tagged) -> None:
    old = service.git("rev-parse", "HEAD~1")
    new = service.git("rev-parse", "HEAD")
    expected = {"v2-light": new, "v2-nested": new, "v2-old-commit": old}
    service.tag("v2-light")
    service.git("tag", "-a", "-m", "inner", "inner")
    service.git("tag", "-a", "-m", "outer", "v2-nested", "inner")
    service.git("push", "--quiet", "origin", "refs/tags/v2-nested")
    service.git("tag", "-a", "-m", "old", "v2-old-commit", old)
    service.git("push", "--quiet", "origin", "refs/tags/v2-old-commit")
    for tag, commit in expected.items():
        _reproduced(service, tag, commit)
    _once(service, *expected)
    light, nested = (service.verdict(tag).tag for tag in ("v2-light", "v2-nested"))
    assert (light.object, light.annotated, light.signer) == (new, False, None)
    assert (nested.object, nested.annotated) == (service.git("rev-parse", "v2-nested"), True)


def test_who_signed_is_in_the_verdict_and_a_stranger_is_refused(service: Tagged) -> None:
    _sign(service, "v2-signed", ALICE)
    _sign(service, "v2-stranger", STRANGER)
    assert "expected a signature by one of the allowed signers" in service.failure("v2-stranger")
    _reproduced_once(service, "v2-signed", service.git("rev-parse", "HEAD"))
    seen = service.verdict("v2-signed").tag
    assert (seen.signature, seen.signer) == ("ssh", ALICE)
    assert seen.key in run(["ssh-keygen", "-lf", str(service.folder / f"{ALICE}.pub")])
    service.looked()
    assert len(service.verifications("v2-stranger")) == 1, "what was refused is not tried again by itself"
    assert "v2-stranger" not in {v.ref.removeprefix("refs/tags/") for v in service.recorded()}


# Moved and deleted


def test_deleted_before_its_pin_and_after_its_verdict(service: Tagged) -> None:
    service.holds.at("before-Pin")
    service.push_tag("v3-gone")
    service.holds.wait("before-Pin", service.running_master)
    service.git("push", "--quiet", "--delete", "origin", "refs/tags/v3-gone")
    service.holds.clear()
    assert "it may have been deleted" in service.failure("v3-gone")
    assert "deleted" in service.told("v3-gone", "deleted")
    service.push_tag("v3-later")
    verdict = service.verdict("v3-later")
    with service.no_event():
        service.git("push", "--quiet", "--delete", "origin", "refs/tags/v3-later")
    service.told("v3-later", "deleted")
    service.git("push", "--quiet", "origin", "refs/tags/v3-later")
    service.told("v3-later", "is back")
    service.looked()
    assert service.verdict("v3-later") == verdict
    assert len(service.verifications("v3-later")) == 1


def test_moved_between_push_and_pin_nothing_is_built(service: Tagged) -> None:
    first = service.git("rev-parse", "HEAD")
    service.holds.at("before-Pin")
    service.tag("v3-early")
    service.holds.wait("before-Pin", service.running_master)
    second = service.commit("v3-early moves")
    service.tag("v3-early", force=True)
    service.holds.clear()
    assert f"expected {first}" in service.failure("v3-early")
    assert second in service.told("v3-early", "was moved")
    service.wait_idle()
    service.looked()
    assert not [v for v in service.recorded() if v.ref == "refs/tags/v3-early"]
    assert {b["results"] for b in service.verifications("v3-early")} == {2}


def test_moved_between_pin_and_verdict_the_verdict_is_about_the_pinned_commit(service: Tagged) -> None:
    first = service.git("rev-parse", "HEAD")
    service.holds.at("after-Pin")
    service.tag("v3-middle")
    service.holds.wait("after-Pin", service.running_master)
    second = service.commit("v3-middle moves")
    with service.no_event():
        service.tag("v3-middle", force=True)
    sentence = service.told("v3-middle", "was moved")
    assert first in sentence and second in sentence
    service.holds.clear()
    _reproduced_once(service, "v3-middle", first)
    shown = run([f"{BIN}/silvermetal-master", "wait", str(service.basedir), "--ref", "refs/tags/v3-middle"])
    assert f"v3-middle was moved: expected {first}" in shown


def test_moved_after_the_verdict_the_verdict_stays_and_the_new_commit_is_not_built(service: Tagged) -> None:
    first = service.git("rev-parse", "HEAD")
    service.tag("v3-late")
    _reproduced_once(service, "v3-late", first)
    second = service.commit("v3-late moves")
    service.tag("v3-late", force=True)
    assert f"expected {first}, for which it has a verdict, got {second}" in service.failure("v3-late")
    service.told("v3-late", "was moved")
    assert service.verdict("v3-late").commit == first
    service.looked()
    service.wait_idle()
    assert [v.commit for v in service.recorded() if v.ref == "refs/tags/v3-late"] == [first]
    # And back: that is told, and nothing is built again.
    with service.no_event():
        service.git("tag", "-f", "v3-late", first)
        service.git("push", "--quiet", "--force", "origin", "refs/tags/v3-late")
    service.told("v3-late", "is back")
    service.looked()
    assert [v.commit for v in service.recorded() if v.ref == "refs/tags/v3-late"] == [first]


def test_a_tag_from_before_the_service_that_moves_is_told_and_not_built(service: Tagged) -> None:
    before = len(service.verifications(OLD))
    with service.no_event():
        service.tag(OLD, force=True)
    service.told(OLD, "was moved")
    service.looked()
    assert len(service.verifications(OLD)) == before


# Many, and a stricter policy


def test_twenty_tags_at_once_each_have_a_verdict_of_their_own(service: Tagged) -> None:
    """H1: nothing is collapsed; the queue drains."""
    tags = [f"v4-{number}" for number in range(20)]
    commits = {}
    for tag in tags:
        (service.tree / "payload").write_text(f"{tag}\n" * 4000)
        service.git("commit", "--quiet", "-am", tag)
        service.git("tag", tag)
        commits[tag] = service.git("rev-parse", "HEAD")
    begun = time.monotonic()
    service.git("push", "--quiet", "origin", "main", *(f"refs/tags/{tag}" for tag in tags))
    for tag, commit in commits.items():
        verdict = service.verdict(tag, timeout=180)
        assert (verdict.outcome, verdict.commit) == (Outcome.REPRODUCED, commit)
    print(f"twenty tags: {time.monotonic() - begun:.1f} s")
    service.looked()
    service.wait_idle()
    mine = [v for v in service.recorded() if v.ref.removeprefix("refs/tags/") in commits]
    assert len({v.build for v in mine}) == len(mine) == 20
    assert all(len(service.verifications(tag)) == 1 for tag in tags)


def test_where_policy_asks_for_signatures_unsigned_and_lightweight_tags_are_refused(service: Tagged) -> None:
    service.set('[policy]\nsigned_tags = "required"\n', instead_of="[policy]\n")
    service.restart()
    service.tag("v5-light")
    service.push_tag("v5-unsigned")
    _sign(service, "v5-signed", ALICE)
    for tag, kind in (("v5-light", "a lightweight one"), ("v5-unsigned", "an unsigned one")):
        assert f"expected a signed tag (policy.signed_tags), got {kind}" in service.failure(tag)
    _reproduced_once(service, "v5-signed", service.git("rev-parse", "HEAD"))


def test_the_masters_end_ends_a_git_that_hangs(service: Tagged) -> None:
    fifo = service.repository / "packed-refs"
    os.mkfifo(fifo)
    wait_until(lambda: _gits(service), "a git that hangs", timeout=30)
    service.running_master.process.terminate()
    wait_until(lambda: not service.running_master.running, "the master's own end", timeout=60)
    wait_until(lambda: not _gits(service), "no git left", timeout=10)
    _let_go(fifo)
