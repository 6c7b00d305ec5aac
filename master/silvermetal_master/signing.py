"""The master's signing key and ledger, opened from the settings.

Rules:

- The key is read from the secrets folder when it is needed and kept nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.ledger import Ledger
from silvermetal_proof.statement import SigningKey

from silvermetal_master.errors import SettingsError
from silvermetal_master.settings import MASTER_KEY, Settings


def master_key(settings: Settings) -> SigningKey:
    """The key that signs verdicts and checkpoints. :raises SettingsError: when it cannot be read."""
    path = settings.secrets / MASTER_KEY
    try:
        return SigningKey.from_pem(path.read_bytes())
    except (OSError, ProofError) as error:
        raise SettingsError(f"{path}: expected the master's Ed25519 key, got {error}") from None


def open_ledger(settings: Settings, state: Path) -> Ledger:
    """The ledger of this master; ``state`` is the build store's folder."""
    return Ledger(state / "ledger", settings.ledger.origin, master_key(settings).public)
