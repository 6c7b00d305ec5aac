"""What a user may ask of the demo. Standard library alone: --help works on a machine that is not made ready yet."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

DESCRIPTION = """\
One command: a tag, two hosts, two real ISOs, one verdict.

Starts a master and two isolated build hosts on this machine, pushes a tag to a git repository made from this
checkout's HEAD, lets both hosts build the same bootable Debian live ISO, compares what they signed, and tells the
verdict. Everything it started is gone when it ends, also after Ctrl-C.
"""
EPILOGUE = """\
exit codes: 0 REPRODUCED; 1 any other verdict, or a release that does not hold; 2 wrong usage; 3 the machine or a
            part was not fit; 130 interrupted
results:    output/demo/<tag>/ in the checkout: the ISO, SHA256SUMS, BUILD_INFO, statements, verdict, logs;
            with --release: output/demo/<tag>-release/, as anybody fetches it
state:      ~/.cache/silvermetal (or SILVERMETAL_STATE): packages, builder image, engine data; makes the next run fast
"""
# What git accepts in a tag, and the demo's master in a name: see `tags` in the master's settings.
TAG = re.compile(r"v[0-9][A-Za-z0-9._-]{0,63}")
FILE = re.compile(r"/[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Options:
    hosts: str
    diverge: str | None
    keep: bool
    tag: str
    recipe: str
    release: bool = False


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Exit code 2 with a sentence when the arguments are wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo.sh",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--hosts",
        choices=("netns", "vm"),
        default="netns",
        help="netns: two network namespaces on this kernel (fast, I1); vm: two QEMU guests with different kernels (I2)",
    )
    parser.add_argument(
        "--diverge",
        nargs="?",
        const="/etc/issue",
        metavar="FILE",
        help="let one host write its name into FILE of the image (default /etc/issue): the verdict must name that file",
    )
    parser.add_argument(
        "--release",
        action="store_true",
        help="publish what was reproduced on a local stand-in for Gitea, then fetch and check it as an outsider does",
    )
    parser.add_argument("--keep", action="store_true", help="leave the master up afterwards, until Ctrl-C")
    parser.add_argument("--tag", default="v1", help="the tag that is pushed (default: v1)")
    parser.add_argument("--recipe", default="minimal-live", help="what is built (default: minimal-live)")
    got = parser.parse_args(arguments)
    if not TAG.fullmatch(got.tag) or ".." in got.tag or got.tag.endswith((".", ".lock")):
        parser.error(f"--tag: got {got.tag!r}, expected a tag like v1 or v2.0-rc1")
    if got.diverge is not None and (not FILE.fullmatch(got.diverge) or ".." in got.diverge):
        parser.error(f"--diverge: got {got.diverge!r}, expected the absolute path of a file in the image")
    return Options(got.hosts, got.diverge, got.keep, got.tag, got.recipe, got.release)
