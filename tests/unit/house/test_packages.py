"""setup.cfg against the tree: every package ships, every entry point is there, every requirement is pinned."""

from __future__ import annotations

import configparser
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
FOLDERS = dict(line.split(" = ") for line in SETUP["options"]["package_dir"].strip().splitlines())


def lines(section: str, option: str) -> list[str]:
    return [line.strip() for line in SETUP[section][option].strip().splitlines()]


def requirement_names(text: list[str]) -> set[str]:
    return {re.split(r"[\s\[;<>=!~]", line)[0].lower().replace("_", "-") for line in text}


def test_the_package_list_is_the_tree() -> None:
    found = set()
    for top, folder in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([top, *init.parent.relative_to(ROOT / folder).parts]))
    listed = lines("options", "packages")
    assert sorted(listed) == sorted(found)


def test_no_module_lies_in_a_folder_that_is_no_package() -> None:
    for folder in FOLDERS.values():
        for module in (ROOT / folder).rglob("*.py"):
            if "templates" not in module.parts:
                assert (module.parent / "__init__.py").exists(), module.relative_to(ROOT)


def test_data_beside_the_modules_is_packaged() -> None:
    patterns = [p for value in dict(SETUP["options.package_data"]).values() for p in re.split(r"[,\s]+", value) if p]
    # The demo's guest files are used from the clone that the demo runs in, never from an installed package.
    for folder in (f for name, f in FOLDERS.items() if name != "silvermetal_demo"):
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in parts:
                here = [path.name, f"{path.parent.name}/{path.name}"]
                assert any(Path(h).match(p) for h in here for p in patterns), path.relative_to(ROOT)


POINTS = [
    (group, *re.split(r"\s*=\s*", line, maxsplit=1))
    for group, text in SETUP["options.entry_points"].items()
    for line in text.strip().splitlines()
]


@pytest.mark.parametrize(("group", "name", "target"), POINTS)
def test_every_entry_point_is_there(group: str, name: str, target: str) -> None:
    module, _, attribute = target.partition(":")
    assert hasattr(importlib.import_module(module), attribute), (group, name)


def test_every_script_is_there_and_executable() -> None:
    for name in lines("options", "scripts"):
        assert (ROOT / name).stat().st_mode & 0o111, name


def test_every_requirement_is_pinned_once() -> None:
    pinned = [
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert len(pinned) == len(set(pinned))
    asked = requirement_names(lines("options", "install_requires"))
    for extra in SETUP["options.extras_require"]:
        asked |= requirement_names(lines("options.extras_require", extra))
    assert asked - set(pinned) == {"silvermetal-build-master"}
