"""A release as a folder of static files: what any web server serves, and `silvermetal verify-release` reads.

Rules:

- A release appears whole, by one rename, or not at all; what an interrupted try left is begun anew.
- A release that is there is never changed: it holds what was asked for, or that is an error for people.
- Everybody may read it, whatever the master's umask.
- Bytes are copied and hashed by :mod:`.gitea.transfer`, and compared before anything appears.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

from silvermetal_proof.ledger.store import sync

from silvermetal_master.gitea.converge import Asset
from silvermetal_master.gitea.porter import LostError, Porter

COPY_SECONDS = 4 * 3600


class ShelfError(Exception):
    """The folder does not hold what it should; the text says expected and got."""


def place_of(folder: Path, ref: str) -> Path:
    """Where the release of a tag lies: a tag's own name may hold slashes."""
    return folder / quote(ref.removeprefix("refs/tags/"), safe="")


async def shelve(porter: Porter, folder: Path, ref: str, assets: dict[str, Asset]) -> Path:
    """Return the folder of the release. :raises ShelfError: :raises OSError: when it cannot be made now."""
    place = place_of(folder, ref)
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, asset in sorted(assets.items()):
            await _digest(porter, {"do": "copy", "path": str(asset.path), "to": str(part / name)}, asset)
            (part / name).chmod(0o644)
        part.chmod(0o755)
        sync(part)
        part.rename(place)
        sync(folder)
    names = sorted(path.name for path in place.iterdir())
    if names != sorted(assets):
        raise ShelfError(f"{place}: expected {sorted(assets)}, got {names}; it is left alone")
    for name, asset in sorted(assets.items()):
        await _digest(porter, {"do": "check", "path": str(place / name), "nonces": {}}, asset)
    return place


async def _digest(porter: Porter, order: dict[str, object], asset: Asset) -> None:
    file = order.get("to", order["path"])
    try:
        found = await porter.ask(order, seconds=COPY_SECONDS)
    except LostError as error:
        raise ShelfError(f"{file}: expected it copied and read, got {error}") from None
    if f"sha256:{found['sha256']}" != asset.digest:
        raise ShelfError(f"{file}: expected {asset.digest}, got sha256:{found['sha256']}; it is left alone")
