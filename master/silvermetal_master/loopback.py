"""Which addresses are this machine's alone: a token may go there without TLS, and nowhere else."""

from __future__ import annotations

import contextlib
import ipaddress


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address with or without brackets, is this machine's own loopback."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"
