"""``HOW-TO-CHECK.md``: for somebody who has the release and never saw this project.

Rules:

- Only plain tools are needed for the first three checks; keys come from elsewhere, and the text says so.
- The level that was measured stands in it with its meaning: no better one.
"""

from __future__ import annotations

from silvermetal_proof.host import Level
from silvermetal_proof.release import minisign, sshsig
from silvermetal_proof.release.layout import iso_name
from silvermetal_proof.statement.keys import PublicKey
from silvermetal_proof.verdict.records import Verdict

_TEXT = """# How to check this release

{count} hosts built `{iso}` from commit `{commit}` (`{ref}`) and got the same bytes.
Their independence was measured as **I{level} ({level_name})**; this release's policy asked for I{asked}. A level says
how far the hosts were told apart, and nothing about whether the source is good.

Take the master's key from a place other than this page. The key that signed this release calls itself:

```
{hex}
```

## With plain tools

1. The files are whole: `sha256sum -c SHA256SUMS`
2. The list is the master's, by either of:
   - `minisign -V -P '{minisign}' -m SHA256SUMS`
   - put the line `{signers}` into a file `signers`, then
     `ssh-keygen -Y verify -f signers -I {principal} -n file -s SHA256SUMS.sig < SHA256SUMS`
3. Each host signed the same digest: `statement-*.json` are DSSE envelopes; the payload's subject is the ISO's SHA-256.

## What else is here

`verdict.dsse.json` is the master's signed decision, `ledger-proof.json` proves that it is an entry of the ledger
`{origin}` (RFC 9162). Each statement also holds its host's own nonce-keyed digest over the ISO (HMAC-SHA-256), which
only somebody who had the bytes could make. The project's command `silvermetal` checks all of it.

## Build it again

`BUILD_INFO`, `pins.json` and `packages.lock` hold every input. Check out the commit (with its submodules, where
`pins.json` names derivative-maker) and run `scripts/build.sh --recipe RECIPE --lock packages.lock` with RECIPE as in
`BUILD_INFO` and the builder image that `pins.json` names, or let `silvermetal verify-release … --rebuild` do it:
you must get an ISO with this digest:

```
{digest}
```
"""


def how_to_check(verdict: Verdict, key: PublicKey, origin: str) -> bytes:
    """The page for this release."""
    return _TEXT.format(
        count=sum(1 for h in verdict.hosts if h.valid),
        iso=iso_name(verdict),
        commit=verdict.commit,
        ref=verdict.ref,
        level=verdict.level,
        level_name=Level(verdict.level).meaning,
        asked=verdict.policy.min_independence,
        hex=key.hex,
        minisign=minisign.public_key(key),
        signers=sshsig.allowed_signers(key).strip(),
        principal=sshsig.PRINCIPAL,
        origin=origin,
        digest=verdict.iso_sha256,
    ).encode()
