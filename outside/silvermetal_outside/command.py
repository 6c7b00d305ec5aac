"""``silvermetal verify-release URL|DIR``: a release, checked by somebody who has only the keys.

Exit codes are those of ``silvermetal``; 9 is a file that SHA256SUMS does not name so, 10 a file that could not be had,
11 an ISO that came out otherwise when it was built again, 12 one that could not be built again.

Rules:

- The signed list of files is checked before anything that it names is fetched; the ISO's size is the verdict's.
- A folder is only read. What is fetched stays in ``--into``, so that a second call goes on where the first one ended.
- The checks themselves are ``silvermetal_proof``'s: here are the network and the terminal.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from silvermetal_proof.cli.accounted import digest_in
from silvermetal_proof.cli.ends import CODES, End, Refused, finish, refuse
from silvermetal_proof.cli.progress import Watch, watching
from silvermetal_proof.cli.release_folder import Trusted, check_release, kind_of, signed_sums
from silvermetal_proof.cli.verify import Asked, operators_of, read_verdict
from silvermetal_proof.release import MINISIG, SSHSIG, SUMS, VERDICT
from silvermetal_proof.verdict import Verdict, render

from silvermetal_outside.download import DownloadError, GoneError, base_of, fetch
from silvermetal_outside.rebuild import Wanted, rebuild

SMALL_FILE = 64 * 1024 * 1024
_PATH = click.Path(path_type=Path)


def _show(name: str, have: int, whole: int | None) -> None:
    """One line a file on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        share = f"{100 * have // whole:3d} %" if whole else f"{have} bytes"
        click.echo(f"\r{name}: {share}\x1b[K", nl=have == whole, err=True)


def download(url: str, folder: Path, trusted: Trusted, watch: Watch) -> None:
    """Bring the whole release into ``folder``. :raises Refused: when a file cannot be had or is another one."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        base = base_of(url)
        for name in (SUMS, MINISIG, SSHSIG):
            fetch(base, name, folder, limit=65536, progress=_show)
        sums = signed_sums(folder, trusted.master)
        if VERDICT not in sums:
            raise Refused(End.SUMS, folder / SUMS, f"expected {VERDICT} in it, got no such line")
        verdict: Verdict | None = None
        for name in sorted(sums, key=lambda n: (n != VERDICT, n)):
            limit = SMALL_FILE
            if verdict is not None and kind_of(name) is End.ISO:
                limit = max((h.size or 0 for h in verdict.hosts if h.valid), default=0)
            _bring(base, name, folder, sums[name], limit, watch)
            if name == VERDICT:
                verdict, _ = read_verdict(folder, trusted.master)
    except DownloadError as error:
        raise Refused(End.NETWORK, url, str(error)) from None


def _bring(base: str, name: str, folder: Path, expected: str, limit: int, watch: Watch) -> None:
    """One file that is what the list says: had already, fetched, or once fetched anew after a resumed one was wrong."""
    path = folder / name
    if path.exists() and digest_in(path, watch(path)) == expected:
        return
    resumed = (folder / f".{name}.part").exists()
    for again in (resumed, False):
        try:
            fetched = fetch(base, name, folder, limit=limit, progress=_show)
        except GoneError as error:
            raise Refused(kind_of(name), base + name, f"expected it, for {SUMS} names it: {error}") from None
        found = digest_in(fetched, watch(fetched))
        if found == expected:
            return
        path.unlink()
        if not again:
            raise Refused(kind_of(name), base + name, f"expected {expected}, got {found}")


def _state_folder() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "silvermetal"


@click.command("verify-release", epilog=CODES)
@click.argument("release")
@click.option("--keys", type=_PATH, required=True, help="Folder of host entries (*.toml), from elsewhere.")
@click.option("--master-key", required=True, help="The master's public key, 64 hex digits, from elsewhere.")
@click.option("--origin", required=True, help="The ledger's name.")
@click.option("--into", type=_PATH, default=None, help="Where a URL's files go; default: ./<tag>.")
@click.option(
    "--state", type=_PATH, default=None, help="What was seen of ledgers; default: ~/.local/state/silvermetal."
)
@click.option("--ledger", type=_PATH, default=None, help="A copy of the whole ledger, to compare checkpoints by.")
@click.option("--threshold", default=2, show_default=True, type=click.IntRange(2), help="Statements that must agree.")
@click.option("--min-independence", default=1, show_default=True, type=click.IntRange(0, 4))
@click.option(
    "--operator", multiple=True, metavar="NAME=KEY", help="Who vouches for hosts, by key; I3 and I4 rest on them."
)
@click.option("--rebuild", is_flag=True, help="Also build it again here, and compare to the byte. Needs an engine.")
@click.option(
    "--source", default=".", show_default=True, help="For --rebuild: a checkout or address of the repository."
)
@click.option("--rebuild-into", type=_PATH, default=None, help="Where that ISO stays; default: ./<tag>-rebuilt.")
@click.option("--rebuild-timeout", default=7200, show_default=True, type=click.IntRange(60, 86400), help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify_release(release: str, as_json: bool, **options: Any) -> None:
    """Check the release at RELEASE, a URL (its page, or where its files lie) or a folder."""
    try:
        trusted = Trusted.of(options["master_key"], options["origin"], options["keys"])
        asked = Asked(options["threshold"], options["min_independence"], operators_of(options["operator"]))
        folder = Path(release)
        with watching(as_json=as_json) as watch:
            if "://" in release:
                folder = options["into"] or Path(release.rstrip("/").rsplit("/", 1)[-1] or "release")
                download(release, folder, trusted, watch)
            state = options["state"] or _state_folder()
            verdict = check_release(
                folder, trusted=trusted, asked=asked, state=state, ledger=options["ledger"], watch=watch
            )
        rebuilt = _rebuild(folder, verdict, options) if options["rebuild"] else None
    except Refused as refused:
        refuse(refused, as_json=as_json)
    except OSError as error:
        refuse(Refused(End.UNREADABLE, error.filename or release, str(error.strerror)), as_json=as_json)
    result = {
        "ok": True,
        "outcome": str(verdict.outcome),
        "iso_sha256": verdict.iso_sha256,
        "level": verdict.level,
        "ref": verdict.ref,
        "commit": verdict.commit,
        "folder": str(folder),
        "ledger_compared": options["ledger"] is not None,
        "rebuilt": None if rebuilt is None else str(rebuilt),
    }
    last = "everything in the release holds"
    if rebuilt is not None:
        last += f"\nbuilt again here, it is the same to the byte: {rebuilt}"
    finish(result, as_json=as_json, text=f"{render(verdict)}{last}")


def _rebuild(folder: Path, verdict: Verdict, options: dict[str, Any]) -> Path:
    """Build it again. :raises Refused: when it cannot be, or comes out otherwise."""
    click.echo(f"everything in the release holds; building commit {verdict.commit} again ...", err=True)
    into = options["rebuild_into"] or Path(f"{verdict.ref.rsplit('/', 1)[-1]}-rebuilt")
    return rebuild(folder, verdict, Wanted(options["source"], into, options["rebuild_timeout"]))
