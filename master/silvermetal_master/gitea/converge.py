"""Bringing a release into being, from whatever state a tag's release is in now.

Rules:

- Idempotent: run again after any interruption it ends with one release, whole, and the same bytes.
- A draft until every asset was downloaded and hashed again; what is half there or another is removed and sent again.
- A published release is never changed: it holds what was asked for, or that is an error for people.
- Two releases of one tag are an error: nothing is guessed.
- A draft belongs to who made it: the server makes one of a tag alone, and its text names the claim. Another master's
  draft, or a person's, is left alone, so that two that publish at once never work on one release.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silvermetal_master.gitea.client import GiteaClient, GiteaError


@dataclass(frozen=True)
class Asset:
    """A file that the release must hold; ``digest`` is ``sha256:<64 hex>``."""

    path: Path
    digest: str


def _claimed(body: str, claim: str) -> str:
    """The text of a draft."""
    return f"{body}\n<!-- silvermetal draft of {claim} -->\n"


async def converge(
    client: GiteaClient, *, tag: str, title: str, body: str, commit: str, assets: dict[str, Asset], claim: str
) -> str:
    """Return the address of the published release. :raises GiteaError: when it cannot be reached now.

    ``claim`` is this publication's own: the same at each try, and nobody else's.
    """
    found = await client.releases(tag)
    if len(found) > 1:
        raise GiteaError(f"tag {tag}: expected at most one release, got {len(found)}; remove what should not be there")
    release = found[0] if found else await client.create_draft(tag, title, _claimed(body, claim), commit)
    number = int(release["id"])
    if release["draft"]:
        if not str(release.get("body") or "").strip().endswith(_claimed("", claim).strip()):
            raise GiteaError(
                f"tag {tag}: expected no draft or one of {claim}, got another's (release {number}); it is left alone: "
                "let who made it end, or remove it"
            )
        await _fill(client, number, assets)
        await _check(client, number, assets)
        # A second master may have made one beside ours meanwhile: then nothing is published.
        if len(await client.releases(tag)) != 1:
            raise GiteaError(f"tag {tag}: expected one release, got several; nothing was published")
        await client.undraft(number, body)
    published = await client.release(number)
    if published["draft"] or published["tag_name"] != tag:
        raise GiteaError(f"release {number}: expected it published as {tag}, got {published['tag_name']}, a draft")
    await _check(client, number, assets)
    return str(published["html_url"])


async def _fill(client: GiteaClient, number: int, assets: dict[str, Asset]) -> None:
    there: dict[str, Any] = {}
    for asset in (await client.release(number)).get("assets") or []:
        name = asset["name"]
        wanted = assets.get(name)
        if wanted is None or name in there or await client.digest(asset) != wanted.digest:
            await client.delete_asset(number, int(asset["id"]))
        else:
            there[name] = asset
    for name in sorted(assets.keys() - there.keys()):
        await client.upload(number, name, assets[name].path)


async def _check(client: GiteaClient, number: int, assets: dict[str, Asset]) -> None:
    """Every asset, once, with its digest, and no other."""
    got = (await client.release(number)).get("assets") or []
    names = sorted(asset["name"] for asset in got)
    if names != sorted(assets):
        raise GiteaError(f"release {number}: expected the assets {sorted(assets)}, got {names}")
    for asset in got:
        digest = await client.digest(asset)
        if digest != assets[asset["name"]].digest:
            raise GiteaError(f"asset {asset['name']}: expected {assets[asset['name']].digest}, got {digest}")
