"""`python -m silvermetal_explain`: the same commands without the `silvermetal` command around them."""

from __future__ import annotations

from .auditing import audit_command, normalise_command
from .cli import group

group.add_command(audit_command)
group.add_command(normalise_command)
group(prog_name="silvermetal")
