"""A release comes into being on a server that fails at any call: one release, whole, and never half-published."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import pytest
from silvermetal_master.gitea import client as client_module
from silvermetal_master.gitea.client import GiteaClient, GiteaError
from silvermetal_master.gitea.converge import Asset, converge

from tests.fakes.gitea.description import Description, NotDescribedError
from tests.fakes.gitea.server import TOKEN, Gitea

# Importing trial turns nothing into errors, but what it warns of is not ours.
with warnings.catch_warnings():
    from twisted.internet import reactor
    from twisted.trial import unittest

COMMIT = "c" * 40


class Releases(unittest.TestCase):
    timeout = 120

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Any:
        self.assets = {}
        for name, data in {
            "live.iso": b"\0" * 300_000 + b"end",
            "SHA256SUMS": b"sums\n",
            "BUILD_INFO": b"A=1\n",
        }.items():
            (tmp_path / name).write_bytes(data)
            self.assets[name] = Asset(tmp_path / name, f"sha256:{hashlib.sha256(data).hexdigest()}")
        with Gitea() as self.gitea:
            yield

    def _client(self, token: str = TOKEN) -> GiteaClient:
        return GiteaClient(reactor, self.gitea.url, "o", "r", token, backoff=0.01)

    async def _publish(self, token: str = TOKEN, claim: str = "1" * 32) -> str:
        client = self._client(token)
        try:
            return await converge(
                client, tag="v1", title="v1", body="checked", commit=COMMIT, assets=self.assets, claim=claim
            )
        finally:
            client.close()

    def _assert_whole(self) -> None:
        assert self.gitea.wrong == []
        (release,) = self.gitea.releases.values()
        assert release["draft"] is False
        held = {a["name"]: f"sha256:{hashlib.sha256(self.gitea.files[a['id']]).hexdigest()}" for a in release["assets"]}
        assert len(release["assets"]) == len(self.assets)
        assert held == {name: asset.digest for name, asset in self.assets.items()}

    async def test_one_release_with_all_assets_and_again_changes_nothing(self) -> None:
        url = await self._publish()
        assert url.endswith("/releases/tag/v1")
        self._assert_whole()
        calls = len(self.gitea.calls)
        assert await self._publish() == url
        assert all(call.startswith("GET") for call in self.gitea.calls[calls:])
        self._assert_whole()

    async def test_any_call_may_fail_in_any_way_and_nothing_is_doubled_or_half_published(self) -> None:
        await self._publish()
        total = len(self.gitea.calls)
        for fault in ("error", "lost", "half"):
            for number in range(total):
                self.gitea.releases.clear()
                self.gitea.calls.clear()
                self.gitea.faults = {number: fault}
                for _ in range(3):
                    try:
                        await self._publish()
                        break
                    except GiteaError as error:
                        assert TOKEN not in str(error)
                        for release in self.gitea.releases.values():
                            if not release["draft"]:
                                self._assert_whole()
                assert not self.gitea.faults, "the fault was met"
                self._assert_whole()

    async def test_a_server_that_says_nothing_is_waited_for_only_so_long(self) -> None:
        """It did what was asked, and nobody hears of it: the next try finds it done."""
        await self._publish()
        calls = list(self.gitea.calls)
        changing = [n for n, call in enumerate(calls) if not call.startswith("GET")]
        loading = [n for n, call in enumerate(calls) if "/attachments/" in call]
        self.patch(client_module, "CALL_SECONDS", 0.5)
        self.patch(client_module, "TRANSFER_SECONDS", 0.5)
        for number in (0, *changing, loading[0], loading[-1]):
            self.gitea.releases.clear()
            self.gitea.calls.clear()
            self.gitea.faults = {number: "silent"}
            for _ in range(3):
                try:
                    await self._publish()
                    break
                except GiteaError as error:
                    assert "within 0.5 s" in str(error) or "expected an answer" in str(error), error
            assert not self.gitea.faults, "the fault was met"
            self._assert_whole()

    async def test_a_refusal_is_said_in_the_servers_own_words_and_not_tried_again(self) -> None:
        """4xx: a quota, a size limit, a token without rights."""
        self.gitea.refuse = (413, "the attachment is too large")
        with pytest.raises(GiteaError, match=r"expected 201, got 413 .*the attachment is too large"):
            await self._publish()
        (release,) = self.gitea.releases.values()
        assert release["draft"] is True
        assert sum("/assets" in call for call in self.gitea.calls if call.startswith("POST")) == 1
        self.gitea.refuse = None
        await self._publish()
        self._assert_whole()

    async def test_a_published_release_with_other_bytes_is_an_error_and_is_left_alone(self) -> None:
        await self._publish()
        (release,) = self.gitea.releases.values()
        number = release["assets"][0]["id"]
        self.gitea.files[number] = b"swapped"
        with pytest.raises(GiteaError, match="expected sha256:"):
            await self._publish()
        assert self.gitea.files[number] == b"swapped"

    async def test_two_releases_of_one_tag_are_an_error(self) -> None:
        await self._publish()
        (release,) = list(self.gitea.releases.values())
        self.gitea.releases[99] = {**release, "id": 99}
        with pytest.raises(GiteaError, match="at most one release, got 2"):
            await self._publish()

    async def test_a_draft_of_another_master_or_a_person_is_left_alone(self) -> None:
        for body in ("<!-- silvermetal draft of another -->", "my notes", ""):
            self.gitea.releases.clear()
            draft = await self._client().create_draft("v1", "v1", body, COMMIT)
            calls = len(self.gitea.calls)
            with pytest.raises(GiteaError, match=r"got another's .* it is left alone"):
                await self._publish()
            assert all(call.startswith("GET") for call in self.gitea.calls[calls:])
            assert self.gitea.releases[draft["id"]]["draft"] is True

    async def test_the_published_text_names_no_claim(self) -> None:
        await self._publish()
        (release,) = self.gitea.releases.values()
        assert release["body"] == "checked"

    async def test_a_wrong_token_is_said_without_the_token(self) -> None:
        with pytest.raises(GiteaError, match="expected 200, got 404") as caught:
            await self._publish("another-token")
        assert "another-token" not in str(caught.value)

    async def test_the_token_goes_to_the_configured_server_alone(self) -> None:
        with pytest.raises(GiteaError, match="expected an address below"):
            await self._client().digest({"name": "x", "browser_download_url": "http://127.0.0.1:1/x"})


@pytest.mark.parametrize(
    ("method", "path", "query", "kind", "body"),
    [
        ("PUT", "/api/v1/repos/o/r/releases", {}, "", None),
        ("POST", "/api/v1/repos/o/r/releases", {}, "application/json", {"tag": "v1"}),
        ("POST", "/api/v1/repos/o/r/releases", {}, "application/json", {"tag_name": 1}),
        ("GET", "/api/v1/repos/o/r/releases", {"tag": "v1"}, "", None),
        ("POST", "/api/v1/repos/o/r/releases/1/assets", {}, "text/plain", None),
    ],
)
def test_the_description_refuses(method: str, path: str, query: dict[str, str], kind: str, body: Any) -> None:
    with pytest.raises(NotDescribedError):
        Description().check_request(method, path, query, kind, body)
