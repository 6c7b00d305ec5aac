"""Fixtures of the tests that build real images: one reference build a session, shared by all of them."""

from tests.support.live import reference, workshop

__all__ = ["reference", "workshop"]
