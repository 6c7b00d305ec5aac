"""Building a released ISO again on this machine, with the release's own pins and lock, and comparing to the byte.

Rules:

- Only a release that holds is built again: the commit, pins and lock are those that its verdict names.
- The source is a fresh clone at exactly that commit; nothing of a working tree or of the caller's environment gets in
  but the way to the engine, to the network and to programs. What runs is ``scripts/build.sh`` of that commit, and the
  commit's recipe in a container.
- Every command has an end, no standard input, a bounded tail of its output and a checked exit code.
- The ISO that was built is left for whoever wants to look; it is the same, or the command says what was expected.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.cli.ends import End, Refused, read
from silvermetal_proof.digest import measure
from silvermetal_proof.pins import Pins
from silvermetal_proof.release import LOCK, PINS, iso_name
from silvermetal_proof.verdict import Verdict

GIT_SECONDS = 1800
MAX_PINS_BYTES = 1024 * 1024
TAIL_BYTES = 2000
_PASSED = (
    *("PATH", "HOME", "DOCKER_HOST", "CONTAINER_ENGINE", "SILVERMETAL_STATE", "XDG_CACHE_HOME"),
    *("SILVERMETAL_SNAPSHOTS", "SILVERMETAL_NETWORK"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSH_AUTH_SOCK", "TMPDIR"),
)
_MEANINGS = {
    2: "this commit's build.sh does not know the call",
    3: "the build failed",
    4: "a pin was refused",
    5: "this machine is not ready",
    124: "it took too long",
}


@dataclass(frozen=True)
class Wanted:
    """What a rebuild needs: the repository (a checkout or an address), where the result stays, and how long (s)."""

    source: str
    into: Path
    seconds: int


def rebuild(folder: Path, verdict: Verdict, wanted: Wanted) -> Path:
    """Build the release in ``folder`` again; return the ISO, which is the same. :raises Refused: when it is not."""
    pins = Pins.parse(read(folder / PINS, MAX_PINS_BYTES), limit=MAX_PINS_BYTES, what=str(folder / PINS))
    for tool in ("git", "bash"):
        if shutil.which(tool) is None:
            raise Refused(End.NOT_REBUILT, tool, "expected this program, got none on this machine")
    into = wanted.into.absolute()
    if into.exists() and not (into / "BUILD_INFO").is_file():
        # build.sh replaces the folder as a whole.
        raise Refused(End.USAGE, into, "--rebuild-into: expected no folder, or an earlier rebuild's, got another one")
    with tempfile.TemporaryDirectory(prefix="silvermetal-rebuild-") as work:
        checkout = Path(work) / "source"
        _check_out(wanted.source, verdict.commit, checkout)
        _submodules(checkout, pins.recipe)
        lock = (folder / LOCK).absolute()
        argv = ["bash", "scripts/build.sh", "--recipe", pins.recipe, "--lock", str(lock), "--output", str(into)]
        env = {
            **_environment(),
            "BUILDER_IMAGE": pins.builder_image,
            "SOURCE_DATE_EPOCH": str(pins.source_date_epoch),
            "SILVERMETAL_BUILD_TIMEOUT": str(wanted.seconds),
        }
        code, said = _run(argv, checkout, env, wanted.seconds + GIT_SECONDS)
    if code != 0:
        meaning = _MEANINGS.get(code, "the build ended otherwise")
        raise Refused(End.NOT_REBUILT, "scripts/build.sh", f"expected exit code 0, got {code}: {meaning}{said}")
    isos = sorted(into.glob("*.iso"))
    if len(isos) != 1:
        raise Refused(End.NOT_REBUILT, into, f"expected one ISO, got {len(isos)}")
    with isos[0].open("rb") as stream:
        found = measure(stream, "0" * 64).sha256
    if found != f"sha256:{verdict.iso_sha256}":
        released = folder / iso_name(verdict)
        raise Refused(
            End.REBUILT_OTHER,
            isos[0],
            f"expected sha256:{verdict.iso_sha256}, got {found}; what differs: `silvermetal diff {released} {isos[0]}`",
        )
    return isos[0]


def _environment() -> dict[str, str]:
    return {**{n: os.environ[n] for n in _PASSED if n in os.environ}, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _check_out(source: str, commit: str, target: Path) -> None:
    env = {**_environment(), "GIT_TERMINAL_PROMPT": "0"}
    where = str(Path(source).absolute()) if Path(source).exists() else source
    trust = ["-c", "safe.directory=*", "-c", "protocol.ext.allow=never"]
    for argv, wanted in (
        (["git", *trust, "clone", "--quiet", "--no-checkout", "--no-hardlinks", "--", where, str(target)], "a clone"),
        (["git", "-C", str(target), "checkout", "--quiet", "--detach", commit], f"commit {commit} in it"),
    ):
        code, said = _run(argv, target.parent, env, GIT_SECONDS)
        if code != 0:
            raise Refused(End.NOT_REBUILT, source, f"expected {wanted}, got exit code {code} of git{said}")


def _submodules(checkout: Path, recipe: str) -> None:
    """Fetch those submodules that the recipe names, at the commit's own gitlinks; no other is needed."""
    listed = checkout / ".gitmodules"
    if not listed.exists():
        return
    config = checkout / "config" / f"{recipe}.conf"
    texts = [p for p in (config, *(checkout / "scripts" / "recipes" / recipe).rglob("*")) if p.is_file()]
    said = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in texts)
    paths = re.findall(r"(?m)^\s*path\s*=\s*([A-Za-z0-9][A-Za-z0-9._/-]*)\s*$", listed.read_text(encoding="utf-8"))
    for path in paths:
        if path in said:
            argv = ["git", "submodule", "--quiet", "update", "--init", "--recursive", "--", path]
            code, why = _run(argv, checkout, {**_environment(), "GIT_TERMINAL_PROMPT": "0"}, GIT_SECONDS)
            if code != 0:
                raise Refused(End.NOT_REBUILT, path, f"expected the submodule, got exit code {code} of git{why}")


def _run(argv: Sequence[str], cwd: Path, env: Mapping[str, str], seconds: float) -> tuple[int, str]:
    """Exit code and the end of what was said; ended with its whole session when it takes too long or we are stopped."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except BaseException as error:
            # TERM first: build.sh removes its container.
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, number)
                try:
                    process.wait(60)
                    break
                except subprocess.TimeoutExpired:
                    continue
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = 124
        out.seek(max(0, out.seek(0, os.SEEK_END) - TAIL_BYTES))
        said = out.read().decode("utf-8", "replace").strip()
    return code, f"; it said:\n{said}" if said else ""
