"""`python -m silvermetal_explain`: the same commands without the `silvermetal` command around them."""

from __future__ import annotations

from .cli import group

group()
