"""Gitea: its events, and how a local repository speaks as it does."""
