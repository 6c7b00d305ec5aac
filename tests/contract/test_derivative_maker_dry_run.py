"""The recipe's own script with a real upstream tree: a dry run on exactly our call, in a root file system of Debian 13.

Rules:

- DERIVATIVE_MAKER_TREE names a checkout (with live-build, grml-debootstrap, helper-scripts, developer-meta-files,
  genmkfile and anon-apt-sources-list of its submodules), DERIVATIVE_MAKER_ROOT a root made by mmdebstrap with the packages
  of docker/derivative-maker-packages.list, DERIVATIVE_MAKER_MIRROR a mirror of Debian, which a dry run may use unpinned.
- The root is written to, the tree is copied. Minutes; what runs is upstream's, to the point where it would make an image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from silvermetal_proof.derivative_maker import changelog_epoch
from silvermetal_proof.derivative_maker.call import SOURCES_FILE, excludes, render, version_of

from tests.support.upstream import ARCHIVE, ROOT, SETTINGS

RECIPE = ROOT / "scripts/recipes/silvermetal-base"
CALL = render(SETTINGS, version_of(SETTINGS, "a" * 40), ARCHIVE)
RELAXED = (
    "--allow-untagged",
    "true",
    "--allow-uncommitted",
    "true",
    "--allow-unsigned",
    "true",
    "--sign-and-tag",
    "false",
)
RUN = """set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sys "$1/sys"
mount --rbind /dev "$1/dev"
mount --make-rslave "$1/dev"
mount --bind "$2" "$1/silvermetal/tree"
mount --bind "$2/.git" "$1/silvermetal/gitdir"
cp /etc/resolv.conf "$1/etc/resolv.conf"
exec chroot "$1" bash /silvermetal/in/recipe/build
"""


def named(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set; see this file's head")
    return value


@pytest.mark.timeout(2400)
def test_the_dry_run_of_our_call_ends_well_and_leaves_six_bytes() -> None:
    tree, root = (Path(named(f"DERIVATIVE_MAKER_{x}")) for x in ("TREE", "ROOT"))
    mirror = named("DERIVATIVE_MAKER_MIRROR")
    if os.geteuid() != 0:
        pytest.skip("a root file system is entered as root")
    dirty = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(tree), "status", "--porcelain"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    # A tree with a submodule that could not be had at its gitlink is no clean one: then only its signatures go unchecked.
    argv = (*CALL.argv, "--dry-run", "true", *(RELAXED if dirty else ()))
    shutil.rmtree(root / "silvermetal", ignore_errors=True)
    for place in ("in", "out", "tree", "gitdir"):
        (root / "silvermetal" / place).mkdir(parents=True)
    inside = root / "silvermetal/in"
    shutil.copytree(RECIPE, inside / "recipe")
    parts = [
        f"{part}-{SETTINGS.timestamp} {mirror}{part.removeprefix('debian')}" for part in ("debian", "debian-security")
    ]
    files = {
        "argv": "".join(f"{word}\n" for word in argv),
        "environment": "".join(f"{key}={value}\n" for key, value in CALL.environment.items()),
        Path(SOURCES_FILE).name: CALL.sources,
        "approx.conf": "\n".join([*parts, "$cache /var/cache/approx", ""]),
        "excludes": excludes(),
        "sudoers": 'Defaults env_keep += "MKSQUASHFS_OPTIONS"\nuser ALL=(ALL) NOPASSWD: ALL\n',
        "call.env": f"EXCLUDES={CALL.excludes}\nISO={CALL.iso}\nSYSTEMD=no\n",
    }
    for name, text in files.items():
        (inside / name).write_text(text)
    for old in ("derivative-maker", "derivative-binary", ".git"):
        shutil.rmtree(root / "home/user" / old, ignore_errors=True)
    (root / "home/user/derivative-binary").mkdir(parents=True)
    log = root / "silvermetal/log"
    with log.open("wb") as stream:
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
             "sh", "-c", RUN, "sh", str(root), str(tree)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, timeout=2100, check=False,
        )  # fmt: skip
    said = log.read_text(errors="replace")
    assert done.returncode == 0, said[-3000:]
    assert (root / "silvermetal/out/image.iso").read_bytes() == b"dummy\n", "what the verdict must call INVALID"
    lb = root / "home/user/derivative-binary" / str(CALL.excludes)
    assert lb.read_text() == excludes(), "live-build's configuration left the list where it was put"
    config = (lb.parents[1] / "binary").read_text() + (lb.parents[1] / "bootstrap").read_text()
    assert f"debian-{SETTINGS.timestamp}" in config and 'LB_ISO_VOLUME="kicksecure"' in config
    assert "SilverMetal" in config and "silvermetal.example" in config
    changelog = ["dpkg-parsechangelog", "--show-field=Timestamp", "-l", "/home/user/derivative-maker/debian/changelog"]
    upstreams = subprocess.run(
        ["chroot", str(root), *changelog],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert changelog_epoch((tree / "debian/changelog").read_bytes()) == int(upstreams.stdout)
