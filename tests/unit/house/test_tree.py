"""What stands in the repository: short files, no trace of a machine or mirror, nothing generated, nothing large."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MAX_LINES = 400
MAX_BYTES = 512 * 1024
CODE = (".py", ".sh", ".toml", ".cfg", ".js", ".css")
# Paths of the machines that people develop on, and hosts that a build may not depend on. Assembled, so that this file
# does not find itself. /home/user is no developer's: derivative-maker wants its tree there, in its container.
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:work|tmp/w|Users|home/(?!user\b)[a-z]+|root/\.[a-z])(?:/|\b(?!\w))")
REGISTRIES = re.compile(
    r"\b(?:" + "|".join(("deb", "snapshot", "security", "ftp")) + r")\.debian\.org\b|"
    r"\b(?:docker\.io/|(?:ghcr|quay|gcr)\.io\b)|\b(?:pypi|files\.pythonhosted)\.org\b|registry-1\."
)


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=60)
    if done.returncode != 0:
        pytest.skip("not a git checkout: the list of files comes from git")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_is_longer_than_one_idea() -> None:
    long = {str(p): n for p, text in texts() if p.suffix in CODE and (n := text.count("\n")) > MAX_LINES}
    assert long == {}


def test_no_file_names_a_developers_machine() -> None:
    assert {str(p): m[0] for p, text in texts() if (m := MACHINE_PATHS.search(text))} == {}


def test_no_code_or_setting_names_a_registry_or_mirror() -> None:
    """Sources come from the machine's own configuration; prose may name what it talks about."""
    kinds = (*CODE, "", ".env", ".conf", ".tac", ".list", ".txt")
    found = {
        str(p): m[0]
        for p, text in texts()
        if p.suffix in kinds and p.parts[0] not in ("docs", "derivative-maker") and (m := REGISTRIES.search(text))
    }
    assert found == {}


def test_nothing_generated_or_large_is_kept() -> None:
    wrong = re.compile(r"\.(pyc|iso|img|tar|gz|xz|zip|so|o|pem|key)$|(^|/)(__pycache__|node_modules|dist)/|\.egg-info/")
    names = [str(p.relative_to(ROOT)) for p in tracked()]
    assert [n for n in names if wrong.search(n)] == []
    assert {str(p.relative_to(ROOT)): p.stat().st_size for p in tracked() if p.stat().st_size > MAX_BYTES} == {}


def test_no_private_key_or_secret_is_kept() -> None:
    marker = "-----BEGIN " + "PRIVATE KEY"
    assert [str(p) for p, text in texts() if marker in text] == []
    assert not [p for p in tracked() if "secrets" in p.relative_to(ROOT).parts]


PACKAGES = ("proof", "worker", "master", "explain")


def modules() -> list[Path]:
    return [p for p in tracked() if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in PACKAGES]


def test_every_module_says_what_it_is() -> None:
    assert [str(p.relative_to(ROOT)) for p in modules() if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_names_that_say_nothing_are_not_used() -> None:
    names = re.compile(r"Manager|Helper|Utils?$|Misc")
    found = [
        f"{p.relative_to(ROOT)}: {node.name}"
        for p in modules()
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.ClassDef) and names.search(node.name)
    ]
    assert found == []
    assert [str(p) for p in modules() if re.search(r"util|helper|misc|manager", p.stem)] == []


def test_every_subprocess_has_a_deadline_and_no_input() -> None:
    """House rule 7, as far as reading shows it: ``subprocess.run`` says timeout and stdin (or input)."""
    wrong = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "subprocess.run":
                continue
            said = {k.arg for k in node.keywords}
            if "timeout" not in said or not said & {"stdin", "input"}:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []
