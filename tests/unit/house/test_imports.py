"""Which way imports run: the import-linter contract holds, and ``silvermetal_proof`` stands alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BLOCKED = ("twisted", "buildbot", "buildbot_worker", "docker", "treq", "requests", "sqlalchemy")

BLOCK = f"""
import sys, importlib, pkgutil

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"silvermetal_proof must not import {{name}}")

sys.meta_path.insert(0, Refuse())
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )


def test_the_import_contract_holds() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("lint-imports is missing: pip install import-linter")
    argv = [str(program), "--config", str(ROOT / "setup.cfg"), "--no-cache"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


def test_proof_imports_whole_with_the_engines_blocked() -> None:
    done = python(
        BLOCK + "import silvermetal_proof\n"
        "names = [m.name for m in pkgutil.walk_packages(silvermetal_proof.__path__, 'silvermetal_proof.')]\n"
        "[importlib.import_module(n) for n in names]\nprint(len(names))"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


@pytest.mark.parametrize("name", BLOCKED[:4])
def test_the_block_itself_blocks(name: str) -> None:
    done = python(BLOCK + f"import {name}")
    assert (done.returncode, "must not import" in done.stderr) == (1, True)


def test_asking_for_help_loads_no_other_package() -> None:
    done = python(
        "import sys\nfrom silvermetal_proof.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith(('silvermetal_explain', 'twisted', 'dissect'))])"
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
