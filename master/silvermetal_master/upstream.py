"""derivative-maker's own tree at our gitlink: read by the master from a mirror of its own, before any host builds.

Rules:

- The gitlink, the address and the tag are read at the commit that is built; nothing of upstream's tree runs here.
- The tag is resolved now, must peel to the gitlink, and its signature must be the pinned signer's, whom upstream's own
  policy lets sign tags (decided in ``silvermetal_proof.derivative_maker.policy``).
- An address is https; a path of this machine only where our own repository is one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof.derivative_maker import policy, submodules
from silvermetal_proof.derivative_maker.epoch import changelog_epoch
from silvermetal_proof.errors import printable
from silvermetal_proof.pins.pins import Upstream

from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror, resolve_ref
from silvermetal_master.tag_signature import verify_openpgp

MIRROR = "derivative-maker.git"
_HTTPS = re.compile(r"\Ahttps://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9._/-]+\Z")


@dataclass(frozen=True)
class Tree:
    """Upstream's tree: what the pins take of it, and every submodule's commit by its path in *our* tree."""

    pins: Upstream
    submodules: Mapping[str, str]


def _submodules(mirror: Mirror, commit: str, what: str) -> tuple[dict[str, str], dict[str, str]]:
    """Gitlinks and addresses by path, which name the same paths."""
    links = submodules.gitlinks(mirror.listing(commit))
    sections = submodules.declared(mirror.settings_of(commit, ".gitmodules"))
    submodules.check_declared(links, sections, what)
    return links, sections


def read_tree(mirror: Mirror, commit: str, settings: Mapping[str, str]) -> Tree:
    """Read derivative-maker at the gitlink of ``commit``, in a mirror beside ours.

    ``settings`` are the recipe's, by key. :raises PinningError: when there is none, or it is not what is pinned;
    :raises ProofError: with what the tree has wrong.
    """
    links, sections = _submodules(mirror, commit, "the commit's tree")
    gitlink, url = links.get(submodules.PATH), sections.get(submodules.PATH, "")
    if gitlink is None:
        raise PinningError(
            f"{submodules.PATH}: expected it as a submodule at commit {commit}, got no gitlink of that name"
        )
    if not _HTTPS.match(url) and not (url.startswith("/") and mirror.url.startswith("/")):
        raise PinningError(f".gitmodules: {submodules.PATH}: expected an address https://…, got {printable(url, 120)}")
    tag = settings["DERIVATIVE_MAKER_TAG"]
    upstream = Mirror(mirror.path.with_name(MIRROR), url)
    ref = f"refs/tags/{tag}"
    policy.check_commit(tag, gitlink=gitlink, peeled=resolve_ref(url, ref, None))
    upstream.fetch(ref, gitlink)
    _check_signature(upstream, ref, gitlink, settings["DERIVATIVE_MAKER_SIGNER"])
    below, _ = _submodules(upstream, gitlink, f"derivative-maker at {tag}")
    changelog = upstream.file(gitlink, "debian/changelog")
    if changelog is None:
        raise PinningError(f"debian/changelog: expected it in derivative-maker at {tag}, got no such file")
    found = links | {f"{submodules.PATH}/{path}": link for path, link in below.items()}
    return Tree(Upstream(gitlink, changelog_epoch(changelog)), found)


def _check_signature(upstream: Mirror, ref: str, commit: str, pinned: str) -> None:
    text = upstream.file(commit, policy.FILE)
    if text is None:
        raise PinningError(f"{policy.FILE}: expected upstream's signing policy at {commit}, got no such file")
    signers = policy.tag_signers(text)
    with tempfile.TemporaryDirectory(prefix="silvermetal-policy-") as name:
        keys = Path(name, "keys.asc")
        keys.write_text("\n".join(s.keyring for s in signers), encoding="utf-8")
        _, _, primary = verify_openpgp(upstream.path, ref, upstream.object_of(ref), keys)
    policy.check_signature(ref.removeprefix("refs/tags/"), primary=primary, pinned=pinned)
