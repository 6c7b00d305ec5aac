"""What Buildbot is given: no collapsing, no open doors, one builder a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from buildbot.steps.trigger import Trigger
from buildbot.www.authz import Forbidden
from silvermetal_master.configure import configure
from silvermetal_master.operators import OPERATORS, OperatorAuth, add_operator, read_operators

from tests.unit.master.site import HOSTS, make_site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_site(tmp_path)


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> dict[str, Any]:
    return configure(folder, tmp_path / "state")


def test_h1_nothing_is_collapsed(config: dict[str, Any]) -> None:
    assert config["collapseRequests"] is False
    assert {b.name: b.collapseRequests for b in config["builders"]} == {b.name: False for b in config["builders"]}


def test_the_doors_that_inject_changes_are_closed(config: dict[str, Any]) -> None:
    assert "change_source" not in config
    assert "manhole" not in config
    assert config["buildbotNetUsageData"] is None
    assert set(config["www"]["change_hook_dialects"]) == {"gitea"}
    kinds = sorted(type(s).__name__ for s in config["schedulers"])
    assert not [k for k in kinds if k.startswith("Try")]
    assert set(kinds) == {"AnyBranchScheduler", "TagScheduler", "ForceScheduler", "Triggerable"}
    assert config["www"].get("allowed_origins") is None


def test_one_builder_a_host_bound_to_its_one_worker(config: dict[str, Any]) -> None:
    workers = {b.name: b.workernames for b in config["builders"]}
    for kind in ("iso", "explain"):
        assert [workers[f"{kind}@{host}"] for host in HOSTS] == [[host] for host in HOSTS]
    assert not set(workers["verify"]) & set(HOSTS), "the coordinator shares no worker with the hosts"
    assert [w.max_builds for w in config["workers"]] == [1] * len(config["workers"])


def test_no_secret_is_in_the_configuration(config: dict[str, Any], folder: Path) -> None:
    secrets = {p.read_text().strip() for p in (folder / "secrets").iterdir()}
    shown = repr(config) + repr([vars(w) for w in config["workers"]])
    assert not [s for s in secrets if s in shown]


def test_h10_tags_come_from_our_own_hook_alone(config: dict[str, Any]) -> None:
    (tags,) = [s for s in config["schedulers"] if s.name == "tags"]
    assert tags.builderNames == ["verify"]
    change = type("Change", (), {"project": "", "codebase": "", "properties": {}, "files": []})()
    for category, repository, wanted in (
        ("tag", "https://git.example.org/silvermetal/live.git", True),
        ("push", "https://git.example.org/silvermetal/live.git", False),
        (None, "https://git.example.org/silvermetal/live.git", False),
        ("tag", "https://elsewhere.example/x.git", False),
    ):
        change.category, change.repository, change.branch = category, repository, "refs/tags/v1"
        assert tags._config_kwargs["change_filter"].filter_change(change) is wanted


def test_the_judge_and_the_record_run_always_and_fan_out_waits(config: dict[str, Any]) -> None:
    (verify,) = [b for b in config["builders"] if b.name == "verify"]
    steps = [factory.buildStep() for factory in verify.factory.steps]
    names = [s.name for s in steps]
    assert [names.index(n) for n in ("pin", "fan-out", "judge", "record")] == sorted(
        names.index(n) for n in ("pin", "fan-out", "judge", "record")
    )
    assert {s.name for s in steps if s.alwaysRun} >= {"judge", "record"}
    for trigger in (s for s in steps if isinstance(s, Trigger)):
        assert trigger.waitForFinish
        assert not trigger.updateSourceStamp


def test_attribution_adds_its_builders_where_it_is_on_and_nothing_where_it_is_off(folder: Path, tmp_path: Path) -> None:
    before = configure(folder, tmp_path / "state")
    file = folder / "master.toml"
    file.write_text(file.read_text() + '\n[attribution]\nattribute = "on"\n')
    after = configure(folder, tmp_path / "state")
    added = {b.name: b for b in after["builders"] if b.name not in {x.name for x in before["builders"]}}
    assert set(added) == {"attribute", "attribute@host-a", "attribute@host-b"}
    assert [k for k in ("attribute@host-a", "attribute@host-b") if added[k].collapseRequests is not False] == []
    iso = {b.name: b for b in after["builders"]}["iso@host-a"]
    trial = added["attribute@host-a"]
    assert trial.workernames == iso.workernames == ["host-a"]
    assert trial.workerbuilddir == iso.workerbuilddir, "another path would be a factor of its own"
    assert trial.builddir != iso.builddir
    (own,) = added["attribute"].workernames
    assert own not in {n for b in before["builders"] for n in b.workernames}, "it may take days, and blocks nobody"
    (verify,) = [b for b in after["builders"] if b.name == "verify"]
    names = [factory.buildStep().name for factory in verify.factory.steps]
    assert names[-3:] == ["record", "verification-log", "start-attribution"], "the verdict is recorded first"


CONTROLS = [
    ("builds", "1", "stop"),
    ("builds", "1", "rebuild"),
    ("buildrequests", "1", "cancel"),
    ("forceschedulers", "verify-a-commit", "force"),
    ("workers", "1", "kill"),
    ("anything", "1", "new-action"),
]


class _Endpoint:
    """An endpoint of no kind that a special rule knows."""

    def __init__(self) -> None:
        self.kind = None


async def _allowed(config: dict[str, Any], user: dict[str, Any], action: str) -> None:
    authz = config["www"]["authz"]

    class Master:
        class data:
            @staticmethod
            def getEndpoint(path: tuple[str, ...]) -> tuple[_Endpoint, dict[str, Any]]:
                return _Endpoint(), {}

    authz.setMaster(Master())
    await authz.assertUserAllowed(("builds", "1"), action, {}, user)


def _ended(coroutine: Any) -> Exception | None:
    from twisted.internet import defer

    found: list[Any] = []
    defer.ensureDeferred(coroutine).addBoth(found.append)
    return getattr(found[0], "value", None)


@pytest.mark.parametrize("user", [{"anonymous": True}, {"username": "alice"}, {"username": "mallory"}])
@pytest.mark.parametrize("action", sorted({c[2] for c in CONTROLS}))
def test_h4_without_operators_nobody_controls_anything(
    config: dict[str, Any], user: dict[str, Any], action: str
) -> None:
    assert isinstance(_ended(_allowed(config, user, action)), Forbidden)


@pytest.mark.parametrize("action", sorted({c[2] for c in CONTROLS}))
def test_h4_operators_control_and_nobody_else_does(folder: Path, tmp_path: Path, action: str) -> None:
    add_operator(folder / "secrets" / OPERATORS, "alice", "a long password")
    config = configure(folder, tmp_path / "state")
    assert _ended(_allowed(config, {"username": "alice"}, action)) is None
    for user in ({"username": "mallory"}, {"anonymous": True}):
        assert isinstance(_ended(_allowed(config, user, action)), Forbidden)


def test_h4_reading_is_open(config: dict[str, Any]) -> None:
    assert _ended(_allowed(config, {"anonymous": True}, "get")) is None
    assert config["www"]["authz"].allowRules[-1].defaultDeny


def test_an_operators_password_is_kept_as_a_hash(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / OPERATORS
    add_operator(file, "alice", "a long password")
    add_operator(file, "bob", "another long one")
    add_operator(file, "alice", "a new password!")
    assert "password" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    auth = OperatorAuth(read_operators(file))
    assert auth.check_credentials(b"alice", b"a new password!")
    for name, password in ((b"alice", b"a long password"), (b"nobody", b""), (b"\xff", b"x"), (b"bob", b"")):
        assert not auth.check_credentials(name, password)
