"""derivative-maker, from which ``silvermetal-base`` is made: what is asked of it, and what is believed of it.

Rules:

- Nothing here imports more than Python's own library, ``envfile`` and ``errors``: ``scripts/build.sh`` renders the call
  on a host by the commit's own copy of this room, with the host's own Python.
"""

from silvermetal_proof.derivative_maker.call import Call, render
from silvermetal_proof.derivative_maker.epoch import changelog_epoch, effective_epoch
from silvermetal_proof.derivative_maker.settings import BaseSettings, is_base, read_settings, read_snapshot

__all__ = [
    "BaseSettings",
    "Call",
    "changelog_epoch",
    "effective_epoch",
    "is_base",
    "read_settings",
    "read_snapshot",
    "render",
]
