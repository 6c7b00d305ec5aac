"""No scheduler, builder or step can change a pin: everything that is configured is walked, and the walk can fail."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from buildbot.plugins import schedulers
from buildbot.schedulers.basic import AnyBranchScheduler
from buildbot.steps.shell import ShellCommand
from silvermetal_master.configure import configure
from silvermetal_master.steps.on_worker import _WorkerCommand

from tests.unit.master.site import make_site

ROOT = Path(__file__).parents[3]
SCHEDULERS = {"AnyBranchScheduler", "ForceScheduler", "TagScheduler", "Triggerable"}
"""Kinds that start by an event, a person or another build; none by a clock."""
CLEANERS = {"LogChunksJanitor", "BuildDataJanitor"}
COMMANDS = {"attest", "audit", "build", "deliver", "excerpt", "make-image", "manifest", "preflight"}
CATEGORIES = {"tag", "pin-bump"}
WRITES = {"am", "apply", "commit", "commit-tree", "push", "update-index", "update-ref"}


def findings(config: dict[str, Any]) -> list[str]:
    """Whatever could act by itself on more than a build's own folder."""
    found = []
    for scheduler in config["schedulers"]:
        if type(scheduler).__name__ not in SCHEDULERS:
            found.append(f"scheduler {scheduler.name}: {type(scheduler).__name__} starts by itself")
    for builder in config["builders"]:
        for factory in builder.factory.steps:
            step = factory.buildStep()
            module = inspect.getmodule(type(step)).__name__  # type: ignore[union-attr]
            if module != "buildbot.steps.source.git" and not module.startswith("silvermetal_master.steps."):
                found.append(f"{builder.name}: a step of {module}")
            command = getattr(step, "command", None)
            if command and (command[0] != "silvermetal-worker" or command[1] not in COMMANDS):
                found.append(f"{builder.name}: runs {command[0]} {command[1]}")
    return found


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A master with all that it can have."""
    folder = make_site(tmp_path)
    with (folder / "master.toml").open("a") as file:
        file.write('\n[builder_image]\nrepository = "registry.example.org/x/builder"\nhost = "host-a"\n')
        file.write(
            '\n[gitea]\nurl = "https://git.example.org"\nowner = "o"\nrepository = "r"\nreceive = "127.0.0.1:1"\n'
        )
        file.write('\n[attribution]\nattribute = "on"\n')
    token = folder / "secrets" / "gitea-token"
    token.write_text("a token")
    token.chmod(0o600)
    return configure(folder, tmp_path / "state")


def test_no_scheduler_builder_or_step_can_change_a_pin(config: dict[str, Any]) -> None:
    assert {"verify", "builder-image", "publish", "iso@host-a"} <= {b.name for b in config["builders"]}
    assert findings(config) == []
    for scheduler in config["schedulers"]:
        if isinstance(scheduler, AnyBranchScheduler):
            wanted = scheduler._config_kwargs["change_filter"]
            change = type("Change", (), {"project": "", "codebase": "", "properties": {}, "files": []})()
            change.repository, change.branch = "https://git.example.org/silvermetal/live.git", "refs/heads/main"
            taken = {c for c in (*CATEGORIES, "push", "tag-moved", None) if _takes(wanted, change, c)}
            assert taken <= CATEGORIES
            assert scheduler.builderNames == ["verify"]


def _takes(wanted: Any, change: Any, category: str | None) -> bool:
    change.category = category
    return bool(wanted.filter_change(change))


def test_the_only_clock_cleans_logs(config: dict[str, Any]) -> None:
    """Buildbot's janitor adds a scheduler of its own, when the configuration is loaded."""
    before = {b.name for b in config["builders"]}
    for configurator in config["configurators"]:
        configurator.configure(config)
    added = [b for b in config["builders"] if b.name not in before]
    assert {type(f.buildStep()).__name__ for b in added for f in b.factory.steps} <= CLEANERS
    clocks = [s for s in config["schedulers"] if type(s).__name__ not in SCHEDULERS]
    assert [s.builderNames for s in clocks] == [[b.name for b in added]]


@pytest.mark.parametrize("by", ["a clock", "a foreign step", "another command"])
def test_a_configuration_that_could_is_found(config: dict[str, Any], by: str) -> None:
    argv = ["scripts/bump-pin", "snapshot", "20260101T000000Z"]
    step = _WorkerCommand(seconds=60, command=argv) if by == "another command" else ShellCommand(command=argv)
    if by == "a clock":
        config["schedulers"].append(schedulers.Nightly(name="every-night", builderNames=["verify"], hour=3))
    else:
        config["builders"][0].factory.addStep(step)
    assert findings(config)


def test_no_module_of_the_service_calls_git_to_write_or_names_the_script() -> None:
    wrong = []
    for room in ("master", "worker", "proof"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if re.search(r"(^|/)bump-pin$", node.value):
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}")
                elif isinstance(node, ast.List | ast.Call):
                    words = node.elts if isinstance(node, ast.List) else node.args
                    said = [w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str)]
                    git = "git" in said[:1] or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_git"))
                    if git and WRITES & set(said):
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: git {said}")
    assert wrong == []
