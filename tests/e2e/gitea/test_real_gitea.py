"""The ways of a release and of a commit status on a real Gitea: GITEA_URL, GITEA_TOKEN, GITEA_OWNER and GITEA_REPOSITORY name a server and an
existing repository that may be written to; a release of a new tag is made there, and left there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import warnings
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.gitea.client import GiteaClient
from silvermetal_master.gitea.converge import Asset, converge
from silvermetal_master.notices.channels import send_status

with warnings.catch_warnings():
    from twisted.internet import reactor
    from twisted.trial import unittest

NAMES = ("GITEA_URL", "GITEA_TOKEN", "GITEA_OWNER", "GITEA_REPOSITORY")
missing = [name for name in NAMES if not os.environ.get(name)]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(missing), reason=f"no real Gitea to test with: {', '.join(missing)} not set"),
]


class RealGitea(unittest.TestCase):
    timeout = 240

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Any:
        self.assets = {}
        for name, data in {"live.iso": secrets.token_bytes(3_000_000), "SHA256SUMS": b"sums\n"}.items():
            (tmp_path / name).write_bytes(data)
            self.assets[name] = Asset(tmp_path / name, f"sha256:{hashlib.sha256(data).hexdigest()}")

    async def test_a_release_is_made_once_and_asked_for_again_is_the_same(self) -> None:
        url, token, owner, repository = (os.environ[name] for name in NAMES)
        client = GiteaClient(reactor, url, owner, repository, token)
        self.addCleanup(client.close)
        tag = f"v0-test-{secrets.token_hex(4)}"
        for _ in range(2):
            made = await converge(
                client, tag=tag, title=tag, body="a test", commit="main", assets=self.assets, claim=tag
            )
            assert tag in made
        (release,) = await client.releases(tag)
        assert release["draft"] is False
        assert sorted(a["name"] for a in release["assets"]) == sorted(self.assets)

    async def test_a_status_is_made_once_and_said_again_makes_no_second(self) -> None:
        url, token, owner, repository = (os.environ[name] for name in NAMES)
        client = GiteaClient(reactor, url, owner, repository, token)
        commit = (await client._json("GET", "/git/commits/main", 200))["sha"]
        context = f"silvermetal/test/{secrets.token_hex(4)}"
        for state in ("pending", "success"):
            page = f"https://master.example.org/{state}"
            payload = {"commit": commit, "state": state, "context": context, "description": state, "target_url": page}
            numbers = []
            for _ in range(2):
                await send_status(client, payload)
                newest = await client.newest_status(commit, context)
                assert newest is not None
                assert newest["status"] == state
                numbers.append(newest["id"])
            assert numbers[0] == numbers[1]
