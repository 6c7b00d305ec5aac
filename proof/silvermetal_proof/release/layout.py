"""The assets of a release by name: a flat list, because that is what a release page holds.

Rules:

- A release holds the ISO, ``SHA256SUMS`` with two signatures, ``BUILD_INFO``, ``packages.lock``, ``pins.json``, one
  ``statement-<host>.json`` for each host that the verdict counts, ``verdict.dsse.json``, ``ledger-proof.json``,
  ``HOW-TO-CHECK.md``, and copies of the public keys (``key-<host>.toml``, ``key-master.pub``), which prove nothing.
- ``SHA256SUMS`` names every other asset but its own signatures.
- The ISO's name is a worker's word: it must end in ``.iso`` and be a plain file name.
"""

from __future__ import annotations

import re

from silvermetal_proof.errors import MalformedError
from silvermetal_proof.verdict.records import Verdict

SUMS = "SHA256SUMS"
MINISIG = "SHA256SUMS.minisig"
SSHSIG = "SHA256SUMS.sig"
BUILD_INFO = "BUILD_INFO"
LOCK = "packages.lock"
PINS = "pins.json"
VERDICT = "verdict.dsse.json"
LEDGER_PROOF = "ledger-proof.json"
HOW_TO_CHECK = "HOW-TO-CHECK.md"
MASTER_PUB = "key-master.pub"

_ISO = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,180}\.iso\Z")
_STATEMENT = re.compile(r"\Astatement-([a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?)\.json\Z")


def statement_asset(host: str) -> str:
    """The name of a host's statement."""
    return f"statement-{host}.json"


def host_of(asset: str) -> str | None:
    """The host whose statement an asset is; None for any other asset."""
    match = _STATEMENT.match(asset)
    return match[1] if match else None


def key_asset(host: str) -> str:
    """The name of the copy of a host's entry."""
    return f"key-{host}.toml"


def iso_name(verdict: Verdict) -> str:
    """The name of the released ISO. :raises MalformedError: when the hosts gave none that can be used."""
    names = sorted({h.iso for h in verdict.hosts if h.valid and h.iso})
    if not names or not _ISO.match(names[0]):
        raise MalformedError("name of the ISO", expected="a plain file name that ends in .iso", got=names[:1])
    return names[0]


def required_assets(verdict: Verdict) -> frozenset[str]:
    """Every asset that a release of this verdict must hold; copies of keys may be there beside them."""
    statements = {statement_asset(h.host) for h in verdict.hosts if h.valid}
    fixed = {SUMS, MINISIG, SSHSIG, BUILD_INFO, LOCK, PINS, VERDICT, LEDGER_PROOF, HOW_TO_CHECK}
    return frozenset({iso_name(verdict), *fixed, *statements})
