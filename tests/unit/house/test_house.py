"""The house keeps its own rules: packages, one-way imports, purity, licences, size of files."""

from __future__ import annotations

import configparser
import importlib.metadata as metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = {
    "silvermetal_proof": "proof",
    "silvermetal_explain": "explain",
    "silvermetal_worker": "worker",
    "silvermetal_master": "master",
    "silvermetal_outside": "outside",
    "silvermetal_demo": "scripts",
}
# Licences that go with GPL-2.0-only, the licence of the processes that import them (docs/adr/0001-licence.md).
GOES_WITH_GPL2 = re.compile(
    r"MIT|BSD|ISC|Python|PSF|MPL|Mozilla|LGPL|Lesser|Zope|ZPL|Unlicense|Public Domain|GPL-2\.0|GPLv2|GNU GPL|CNRI|HPND",
    re.IGNORECASE,
)
# Under two licences at once, of which one goes: the metadata names both.
EITHER = {"cryptography", "packaging", "python-dateutil"}
# Apache-2.0 alone, and imported by Buildbot and Twisted themselves: theirs to answer for, and never ours to import.
BROUGHT_BY_BUILDBOT = {"msgpack", "pyopenssl"}
# Imported by commands that are processes of their own, never by Buildbot's master or worker process.
OWN_PROCESS = {"docker", "requests"}


def _tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_package_of_the_tree_is_in_setup_cfg() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    found = set()
    for package, room in ROOMS.items():
        for init in (ROOT / room / package).rglob("__init__.py"):
            found.add(".".join((package, *init.parent.relative_to(ROOT / room / package).parts)))
    assert listed == found


def test_proof_imports_without_buildbot_twisted_or_docker() -> None:
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"buildbot", "buildbot_worker", "twisted", "docker", "treq", "requests"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import silvermetal_proof.cli, silvermetal_proof.order, silvermetal_proof.verdict, silvermetal_proof.ledger
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _imported_by(program: str) -> set[str]:
    """The distributions whose modules a process has loaded."""
    ask = f"{program}\nimport sys; print('\\n'.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=120, check=True)
    owners = metadata.packages_distributions()
    return {name.lower() for module in done.stdout.split() for name in owners.get(module, [])}


def _licence(name: str) -> str:
    about = metadata.metadata(name)
    said = [about.get("License-Expression") or "", about.get("License") or ""]
    said += [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    return " ".join(said)[:400]


@pytest.mark.parametrize(
    ("process", "program"),
    [
        ("master", "import silvermetal_master.configure, buildbot.master, buildbot.www.service"),
        ("worker", "import buildbot_worker.bot, twisted.application.service, twisted.spread.pb"),
        ("proof", "import silvermetal_proof.cli, silvermetal_proof.ledger, silvermetal_proof.verdict"),
    ],
)
def test_what_a_gpl2_process_imports_goes_with_gpl2(process: str, program: str) -> None:
    loaded = _imported_by(program) - {"silvermetal-build-master"}
    assert loaded, process
    assert not loaded & (OWN_PROCESS | {"dissect-squashfs", "dissect.squashfs", "pycdlib", "diffoscope"})
    loaded -= EITHER | BROUGHT_BY_BUILDBOT
    wrong = {n: _licence(n) for n in loaded if not GOES_WITH_GPL2.search(_licence(n))}
    assert not wrong, wrong


def test_none_of_ours_imports_what_only_buildbot_may() -> None:
    pattern = re.compile(r"^\s*(?:import|from) (?:msgpack|OpenSSL)\b", re.MULTILINE)
    assert not [str(p) for p in _tracked("*.py") if pattern.search(p.read_text(encoding="utf-8"))]


def test_the_worker_template_imports_nothing_of_ours() -> None:
    text = (ROOT / "worker/silvermetal_worker/templates/buildbot.tac").read_text()
    assert "silvermetal_" not in re.sub(r"SILVERMETAL_\w+", "", text.split('"""')[2])


def test_no_source_file_is_over_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in _tracked("*.py", "scripts/*", "*.sh")
        if "tests" not in path.relative_to(ROOT).parts
        and (count := len(path.read_text(encoding="utf-8", errors="replace").splitlines())) > 400
    }
    assert not long


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    # Put together here, so that this file does not hold what it looks for.
    forbidden = [f"/{'work'}/", f"/tmp/{'w'}/", f"/root/.{'pyenv'}"]
    hits = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in _tracked()
        for word in forbidden
        if word in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert not hits
