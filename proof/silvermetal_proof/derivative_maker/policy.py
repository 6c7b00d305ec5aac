"""Upstream's signing policy: whose keys may sign a tag of derivative-maker, and whether one of them did.

Source: sequoia-git's policy file, ``buildconfig.d/openpgp-policy.toml`` in upstream's tree.

Rules:

- The policy comes with the tree that it judges, so it alone proves nothing: the key that counts is the one that *our*
  commit names (DERIVATIVE_MAKER_SIGNER, a primary key's fingerprint), and upstream's policy must grant it ``sign_tag``.
- A tag whose name is another one's, or that peels to another commit than our gitlink, is not the one that we pin.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from silvermetal_proof.errors import MalformedError, SignatureError

FILE = "buildconfig.d/openpgp-policy.toml"
MAX_POLICY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Signer:
    """Somebody whom the policy lets sign tags, with the keys in OpenPGP armour."""

    name: str
    keyring: str


def tag_signers(policy: bytes) -> tuple[Signer, ...]:
    """Whoever may sign tags. :raises MalformedError: when the policy cannot be read, or lets nobody."""
    if len(policy) > MAX_POLICY_BYTES:
        raise MalformedError(FILE, expected=f"at most {MAX_POLICY_BYTES} bytes", got=len(policy))
    try:
        value = tomllib.loads(policy.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MalformedError(FILE, expected="a policy of sequoia-git (TOML)", got=str(error)) from None
    if value.get("version") != 0:
        raise MalformedError(f"{FILE}: version", expected=0, got=value.get("version"))
    entries = value.get("authorization")
    signers = []
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        keyring = entry.get("keyring") if isinstance(entry, dict) else None
        if isinstance(keyring, str) and entry.get("sign_tag") is True:
            signers.append(Signer(str(name), keyring))
    if not signers:
        raise MalformedError(FILE, expected="somebody with sign_tag = true and a keyring", got="nobody")
    return tuple(signers)


def check_signature(tag: str, *, primary: str, pinned: str) -> None:
    """``primary`` is the fingerprint of the primary key whose signature held, by a key of the policy.

    :raises SignatureError: when it is not the key that our commit names.
    """
    if primary != pinned:
        raise SignatureError(
            f"tag {tag} of derivative-maker",
            expected=f"the signature of {pinned} (DERIVATIVE_MAKER_SIGNER)",
            got=primary,
        )


def check_commit(tag: str, *, gitlink: str, peeled: str) -> None:
    """:raises MalformedError: when our gitlink is not the commit that the tag names."""
    if gitlink != peeled:
        raise MalformedError(
            f"gitlink derivative-maker is not at {tag}",
            expected=f"{peeled} (`scripts/bump-pin derivative-maker {tag}`)",
            got=gitlink,
        )
