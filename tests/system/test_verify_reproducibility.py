"""``verify-reproducibility.sh`` with a recipe that takes a second: same, different, why, and what cannot be varied.

Rules:

- The scripts are the product's, copied into a repository whose ``build.sh`` is the tiny recipe; what is wrong with it is a
  behaviour that the script does not know.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import run
from tests.support.service import BIN, BUILD_SH, GIT

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
SCRIPTS = ("verify-reproducibility.sh", "silvermetal-vary", "diagnose-divergence.sh")
# What the tiny recipe lets through by itself: modes, the zone, and (so --attribute said) the files' owner.
LEVERS = (
    'levers() { umask 022; export TZ=UTC; chmod -R u=rwX,go=rX "$work/tree"; }; '
    'xorriso() { command xorriso -as mkisofs -uid 0 -gid 0 "${@:3}"; }; '
)
FACTORS = ("umask=0077", "time_zone=Asia/Kathmandu", "hash_seed=7", "cores=1", "path=some/where")


@dataclass
class Checkout:
    """A repository with the scripts and the tiny recipe; ``behave`` says what its builds do wrong."""

    folder: Path

    def behave(self, snippet: str) -> None:
        (self.folder / "store" / "behaviour").write_text(LEVERS + snippet)

    def verify(self, *options: str) -> subprocess.CompletedProcess[str]:
        argv = [self.folder / "tree/scripts/verify-reproducibility.sh", "--keep", self.folder / "keep", *options]
        argv += ["--", "--lock", self.folder / "lock", "--store", self.folder / "store"]
        env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "SOURCE_DATE_EPOCH": "1767323045"}
        return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    for tool in ("git", "xorriso"):
        if shutil.which(tool) is None:
            pytest.skip(f"this machine lacks the program {tool}")
    folder = tmp_path_factory.mktemp("verify")
    for name in ("tree/scripts", "tree/config", "store"):
        (folder / name).mkdir(parents=True)
    for name in SCRIPTS:
        shutil.copy(ROOT / "scripts" / name, folder / "tree/scripts" / name)
    (folder / "tree/scripts/build.sh").write_text(BUILD_SH)
    (folder / "tree/scripts/build.sh").chmod(0o755)
    (folder / "tree/config/builder-image.env").write_text("BUILDER_IMAGE=sha256:" + "5" * 64 + "\n")
    (folder / "tree/payload").write_text("the same everywhere\n" * 4000)
    (folder / "lock").write_text("{}")
    for argv in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "tiny")):
        run(["git", "-C", str(folder / "tree"), *argv], env={**os.environ, **GIT})
    return Checkout(folder)


def vary(*factors: str) -> list[str]:
    return [word for factor in factors for word in ("--vary", factor)]


def test_a_recipe_with_levers_is_the_same_under_all_that_this_machine_can_vary(checkout: Checkout) -> None:
    checkout.behave("before() { levers; }")
    done = checkout.verify("--attribute")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REPRODUCED on this machine" in done.stdout
    varied = done.stdout.partition("build 2 of 2: ")[2].splitlines()[0].split()
    assert {"umask=0077", "cores=1", "path=another/path/of-another-length", "hash_seed=7"} <= set(varied)
    left_out = [line for line in done.stderr.splitlines() if "left out: " in line]
    assert len(varied) + len(left_out) == 11, "what is not varied is named"


def test_the_guilty_factor_is_named_with_its_cost(checkout: Checkout) -> None:
    checkout.behave('before() { umask >> "$work/tree/payload"; levers; }')
    done = checkout.verify("--attribute", "--repeats", "1", *vary(*FACTORS))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DIFFERENT: " in done.stdout
    assert "FACTORS: decided by the umask (as it is or 0077)" in done.stdout
    assert "without effect: the build's path" in done.stdout
    assert "builds of 24 allowed" in done.stdout
    assert "decided by the umask" in (checkout.folder / "keep/attribution.html").read_text()


def test_chance_is_told_as_chance_and_a_spent_budget_as_that(checkout: Checkout) -> None:
    checkout.behave('before() { head -c 8 /dev/urandom >> "$work/tree/payload"; levers; }')
    done = checkout.verify("--attribute", *vary("umask=0077"))
    assert done.returncode == 1
    assert "NONDETERMINISM: chance decides" in done.stdout
    checkout.behave('before() { umask >> "$work/tree/payload"; levers; }')
    done = checkout.verify("--attribute", "--budget", "1", *vary(*FACTORS[:2]))
    assert "OPEN: not known: the budget of 1 builds is spent" in done.stdout


def test_a_build_that_fails_when_varied_ends_the_search_honestly(checkout: Checkout) -> None:
    count = '"$store/count"'
    checkout.behave(
        f"before() {{ echo >> {count}; umask >> $work/tree/payload; levers; [ $(wc -l < {count}) -le 2 ] || exit 3; }}"
    )
    done = checkout.verify("--attribute", *vary("umask=0077"))
    assert done.returncode == 1
    assert "failed 2 times: the build failed" in done.stdout


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        ("cores=1000", "cores: expected at least 1000"),
        ("locale=xx_XX.UTF-8", "locale: expected xx_XX.UTF-8 on this host, got no such locale"),
        ("time_zone=No/Where", "time_zone: expected one that this host knows"),
        ("umask=7", "umask: got '7'"),
        ("weather=fine", "got the factor 'weather', expected one of path, host_name"),
    ],
)
def test_what_cannot_be_varied_is_refused_and_never_ignored(checkout: Checkout, factor: str, said: str) -> None:
    done = checkout.verify(*vary(factor))
    assert done.returncode == 2
    assert said in done.stderr
