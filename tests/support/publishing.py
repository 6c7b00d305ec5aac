"""A service that publishes: with the stand-in for Gitea, and one operator."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from silvermetal_proof.release import parse_sums

from tests.fakes.gitea.server import TOKEN, Gitea
from tests.support.hostile import OPERATOR, PASSWORD
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, missing_for_service

ORIGIN = "silvermetal/ledger"


class Publishing:
    """A service with a Gitea."""

    def __init__(self, service: Service, gitea: Gitea) -> None:
        self.service = service
        self.gitea = gitea

    def release(self, tag: str) -> dict[str, object] | None:
        found = [r for r in self.gitea.releases.values() if r["tag_name"] == tag]
        assert len(found) <= 1, "one release of a tag at any time"
        return found[0] if found else None

    def published(self, tag: str) -> bool:
        release = self.release(tag)
        return release is not None and release["draft"] is False

    def assert_whole(self, tag: str) -> None:
        """The one release holds every file, with the digests of its own list, and the ISO of the verdict."""
        assert self.gitea.wrong == []
        release = self.release(tag)
        assert release is not None and release["draft"] is False
        files = {a["name"]: self.gitea.files[a["id"]] for a in release["assets"]}  # type: ignore[attr-defined]
        assert len(files) == len(release["assets"])  # type: ignore[arg-type]
        listed = parse_sums(files["SHA256SUMS"])
        assert set(files) == {*listed, "SHA256SUMS", "SHA256SUMS.minisig", "SHA256SUMS.sig"}
        for name, digest in listed.items():
            assert f"sha256:{hashlib.sha256(files[name]).hexdigest()}" == digest
        assert {"tiny.iso", "statement-host-a.json", "statement-host-b.json", "ledger-proof.json"} <= set(files)
        shelf = self.service.folder / "shelf"
        assert _digests((shelf / tag).iterdir()) == {n: hashlib.sha256(data).hexdigest() for n, data in files.items()}
        assert not list(shelf.glob(".*")), "nothing half-made beside it"
        verdict = self.service.verdict(tag)
        assert listed["tiny.iso"] == f"sha256:{verdict.iso_sha256}"

    def said(self, builder: str, count: int = 2) -> str:
        """What the steps of the newest builds said."""
        builds = self.service.builds_of(builder)
        steps = [self.service.api(f"builds/{b['buildid']}/steps")["steps"] for b in builds[-count:]]
        return json.dumps([[s["name"], s["state_string"], s["results"]] for part in steps for s in part], indent=0)

    def publish(self, tag: str) -> dict[str, object]:
        """Push a tag and wait for its release."""
        self.service.push_tag(tag)
        self.service.verdict(tag)
        try:
            wait_until(lambda: self.published(tag), "the release", timeout=90)
        except AssertionError:
            raise AssertionError(self.said("publish") + self.said("deliver@host-a")) from None
        self.service.wait_idle()
        found = self.release(tag)
        assert found is not None
        return found

    def files(self, tag: str) -> dict[str, int]:
        """The release's files by name, as keys of ``gitea.files``."""
        release = self.release(tag)
        assert release is not None
        return {a["name"]: a["id"] for a in release["assets"]}  # type: ignore[attr-defined]

    def trusting(self, *more: str, keys: Path | None = None) -> list[str]:
        """What an outsider names beside the release."""
        config = self.service.config
        key = (config / "master.pub").read_text().strip()
        argv = ["--keys", str(keys or config / "hosts"), "--master-key", key, "--origin", ORIGIN]
        return [*argv, *more]


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    found = {}
    for path in paths:
        with path.open("rb") as stream:
            found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def use_gitea(config: Path, gitea: Gitea, owner: str = "o", repository: str = "r", *, more: str = "") -> None:
    """Let the settings in ``config`` name a server, with its token."""
    settings = config / "master.toml"
    table = f'[gitea]\nurl = "{gitea.url}"\nowner = "{owner}"\nrepository = "{repository}"\n'
    settings.write_text(f'{settings.read_text()}\n{table}receive = "127.0.0.1:{free_port()}"\n{more}')
    token = config / "secrets" / "gitea-token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)


@contextlib.contextmanager
def publishing_service(
    folder: Path, engine: tuple[str, str], *, gitea: Gitea | None = None, before: str = "", **policy: int
) -> Iterator[Publishing]:
    """A running service with two hosts, a Gitea and an operator; ended at the end. ``before`` is put before workers."""
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Service(folder, free_port(), free_port(), *engine)
    running.write_settings(["host-a", "host-b"], **policy)
    with gitea or Gitea() as gitea:
        use_gitea(running.config, gitea, more=f'[release]\nfolder = "{folder / "shelf"}"\n')
        run([f"{BIN}/silvermetal-master", "operator", str(running.config), OPERATOR], input=PASSWORD + "\n")
        running.make_repository()
        try:
            running.start_master()
            for worker in running.workers.values():
                worker.start(before)
            running.wait_connected(*running.workers)
            yield Publishing(running, gitea)
        finally:
            running.stop()
