"""docker/Dockerfile.builder, whole, built twice from packages: one id, or the file in which they differ.

No base image can be pulled everywhere, so the base is made from packages here, too, and this machine's mirror plays the
snapshot; what is measured is what the Dockerfile itself leaves to chance.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.engine import private_engine

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]
BASE = "silvermetal-base-for-a-test"


def mirror() -> str:
    """This machine's own archive of Debian, as apt knows it."""
    told = subprocess.run(
        ("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for site in told.stdout.split():
        if re.fullmatch(r"https?://[^/]*debian\.org(/debian)?/?", site) or site.rstrip("/").endswith("/debian"):
            return site.rstrip("/").removesuffix("/debian")
    pytest.skip("apt knows no plain archive of Debian here")


def test_the_whole_dockerfile_gives_one_id_twice(tmp_path: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed")
    archive = mirror()
    base = tmp_path / "base.tar"
    source = f"deb {archive}/debian trixie main"
    options = ("--variant=apt", "--include=ca-certificates,passwd", "trixie")
    subprocess.run(("mmdebstrap", *options, base, source), stdin=subprocess.DEVNULL, check=True, timeout=900)
    with private_engine() as ready:
        assert ready.docker("import", str(base), BASE, timeout=300).returncode == 0
        ids = []
        for name in ("one", "two"):
            # What the first one cached would make the second one no second one.
            ready.docker("image", "prune", "--force")
            call = (ROOT / "scripts/make-builder-image", "--mirror", archive, "--base", ready.image_id(BASE))
            done = subprocess.run(
                (*call, "--save", tmp_path / f"{name}.tar"),
                env=ready.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=1800,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            ids.append(done.stdout.strip())
            ready.docker("image", "rm", "--force", ids[-1])
        compared = subprocess.run(
            (ROOT / "scripts/compare-images", tmp_path / "one.tar", tmp_path / "two.tar"),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ids[0] == ids[1], compared.stdout
