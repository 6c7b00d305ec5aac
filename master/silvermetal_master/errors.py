"""Errors of the master's own.

Rules:

- A settings error names the file and the key; a pinning error names the ref or the file; both say got and expected.
"""

from __future__ import annotations


class SettingsError(Exception):
    """The configuration cannot be used."""


class PinningError(Exception):
    """A ref or an input cannot be pinned."""
