"""A host delivers its ISO to a real receiver process: by TLS with its own certificate, resumed where it was cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from silvermetal_master.authority import admit as sign_request
from silvermetal_master.authority import worker_file
from silvermetal_master.builders import make_builders
from silvermetal_master.delivery import address, close_receiver, open_receiver
from silvermetal_master.errors import SettingsError
from silvermetal_master.receiver import serve
from silvermetal_master.settings import Settings, load
from silvermetal_master.site import enrol, write_site
from silvermetal_proof.statement import SigningKey
from silvermetal_worker import deliver as delivering
from silvermetal_worker.certificate import AUTHORITY, CERTIFICATE, KEY, make_request
from silvermetal_worker.deliver import deliver
from silvermetal_worker.errors import WorkerError

from tests.support.processes import free_port

ISO = os.urandom(3_000_000)
BUILD = "b" * 32
TOKEN = "one-time"


def _keys(site: Path, folder: Path, worker: str) -> Path:
    """A worker's folder of keys, with the certificate that the authority of ``site`` gave."""
    folder.mkdir(parents=True)
    key, request = make_request(worker)
    path = sign_request(site, worker, request, datetime.now(UTC))
    parts = path.read_text().split("-----END CERTIFICATE-----\n")
    (folder / KEY).write_bytes(key)
    (folder / CERTIFICATE).write_text(parts[0] + "-----END CERTIFICATE-----\n")
    (folder / AUTHORITY).write_text(parts[-2] + "-----END CERTIFICATE-----\n")
    return folder


class World:
    """A master's settings, a worker's keys and its kept ISO, and the receiver that waits for it."""

    process: subprocess.Popen[bytes]

    def __init__(self, path: Path, workers: str = "tls:9989:interface=127.0.0.1") -> None:
        self.path, self.site = path, path / "site"
        self.port = free_port()
        write_site(
            self.site, repository="r", recipe="x", url="http://127.0.0.1/", web="tcp:1", workers=workers, origin="o/o"
        )
        for host in ("host-a", "host-b"):
            enrol(
                self.site, host=host, worker=host, public_key=SigningKey.generate().public.hex, operator="o", site="s",
                password="p", now=datetime.now(UTC),
            )  # fmt: skip
        if workers.startswith("tls:"):
            self.keys = _keys(self.site, path / "keys", "host-a")
        self.gitea(f"127.0.0.1:{self.port}")
        (self.site / "secrets" / "gitea-token").touch(mode=0o600)
        (self.site / "secrets" / "gitea-token").write_text("t")
        self.target = path / "incoming.part"
        self.kept = path / "artefacts" / BUILD / "live.iso"
        self.kept.parent.mkdir(parents=True)
        self.kept.write_bytes(ISO)

    def gitea(self, receive: str, url: str = "https://git.example.org") -> None:
        file = self.site / "master.toml"
        text = file.read_text().partition("\n[gitea]")[0]
        file.write_text(f'{text}\n[gitea]\nurl = "{url}"\nowner = "o"\nrepository = "r"\nreceive = "{receive}"\n')

    @property
    def settings(self) -> Settings:
        return load(self.site)

    def receiver(self, worker: str = "host-a") -> subprocess.Popen[bytes]:
        return open_receiver(self.settings, worker, token=TOKEN, target=self.target, size=len(ISO))

    def order(self, **changes: str) -> Path:
        said = {"build": BUILD, "host": "host-a", "token": TOKEN, "url": address(self.settings), **changes}
        file = self.path / "delivery.json"
        file.write_text(json.dumps(said))
        return file

    def send(self, keys: Path, **changes: str) -> int:
        return deliver(self.path / "artefacts", self.order(**changes), keys)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(delivering, "time", SimpleNamespace(sleep=lambda _: None))
    made = World(tmp_path)
    made.process = made.receiver()
    yield made
    close_receiver(made.process)


def test_a_worker_delivers_by_tls_with_its_own_certificate(world: World) -> None:
    assert '"url": "https://' in world.order().read_text()
    assert world.send(world.keys) == len(ISO)
    assert world.target.read_bytes() == ISO
    assert world.send(world.keys) == len(ISO), "what is there already is not sent again"


def test_a_wrong_token_is_refused(world: World) -> None:
    with pytest.raises(WorkerError, match="status 403"):
        world.send(world.keys, token="a guess")
    assert not world.target.exists()


def test_the_sibling_with_the_token_and_a_certificate_of_its_own_is_refused(world: World) -> None:
    with pytest.raises(WorkerError, match="status 403"):
        world.send(_keys(world.site, world.path / "sibling", "host-b"))
    assert not world.target.exists()


def test_a_stranger_with_the_token_gets_no_further_than_the_handshake(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    asked = f"HEAD /iso HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with (
        pytest.raises(OSError),
        socket.create_connection(("127.0.0.1", world.port), timeout=20) as raw,
        context.wrap_socket(raw) as connection,
    ):
        connection.sendall(asked)
        # By TLS 1.3 the refusal comes with the first read.
        if not connection.recv(100):
            raise ConnectionResetError
    plain = http.client.HTTPConnection("127.0.0.1", world.port, timeout=20)
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.request("HEAD", "/iso", headers={"Authorization": f"Bearer {TOKEN}"})
        plain.getresponse()
    plain.close()
    assert world.send(world.keys) == len(ISO), "the receiver stands"


def test_a_certificate_that_was_taken_out_counts_no_more(world: World, tmp_path: Path) -> None:
    close_receiver(world.process)
    worker_file(world.site, "host-a").unlink()
    world.process = world.receiver()
    with pytest.raises(WorkerError, match="status 403"):
        world.send(world.keys)


def test_an_impostor_learns_no_token(world: World, tmp_path: Path) -> None:
    """A whole installation of somebody else's at the master's address: another authority, the same names."""
    close_receiver(world.process)
    other = World(tmp_path / "other")
    other.port = world.port
    other.gitea(f"127.0.0.1:{world.port}")
    world.process = other.receiver()
    with pytest.raises(WorkerError, match=r"expected the master's own certificate at .*certificate verify failed"):
        world.send(world.keys)
    assert not other.target.exists()


@pytest.mark.parametrize("url", ["http://192.0.2.1:1/iso", "http://master.example.org/iso", "ftp://127.0.0.1/iso"])
def test_a_token_goes_nowhere_without_tls(world: World, url: str) -> None:
    with pytest.raises(WorkerError, match="expected to deliver by https"):
        world.send(world.keys, url=url)


def test_a_worker_without_a_certificate_says_what_to_do(world: World, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="silvermetal-worker admit"):
        world.send(tmp_path / "nothing")


class Cut:
    """A way to the receiver that ends after so many bytes, once for each entry of ``after``; then it stays whole."""

    def __init__(self, target: int, after: list[int]) -> None:
        self.after, self.target = after, target
        self.passed: list[int] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            with near, socket.create_connection(("127.0.0.1", self.target)) as far:
                back = threading.Thread(target=self._pass, args=(far, near, None), daemon=True)
                back.start()
                self.passed.append(self._pass(near, far, self.after[0] if self.after else None))
                if self.after and self.passed[-1] >= self.after[0]:
                    self.after.pop(0)
                # What was passed arrives: it is the sender that the end comes as a surprise to.
                with contextlib.suppress(OSError):
                    far.shutdown(socket.SHUT_WR)
                back.join(20)
                with contextlib.suppress(OSError):
                    near.shutdown(socket.SHUT_RDWR)

    def _pass(self, one: socket.socket, two: socket.socket, limit: int | None) -> int:
        passed = 0
        with contextlib.suppress(OSError):
            while (limit is None or passed < limit) and (block := one.recv(65536)):
                two.sendall(block)
                passed += len(block)
        return passed

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(20)


def test_a_delivery_that_is_cut_goes_on_where_it_was_cut(world: World) -> None:
    cut = Cut(world.port, [1_000_000, 700_000])
    try:
        assert world.send(world.keys, url=f"https://127.0.0.1:{cut.port}/iso") == len(ISO)
    finally:
        cut.close()
    assert world.target.read_bytes() == ISO
    assert not cut.after, "it was cut twice"
    assert sum(cut.passed) < 1.2 * len(ISO), "what had come was not sent again"


def test_a_delivery_goes_on_at_a_new_receiver(world: World) -> None:
    """The master died in the middle: what had come is kept."""
    world.target.write_bytes(ISO[:2_000_001])
    assert world.send(world.keys) == len(ISO)
    assert world.target.read_bytes() == ISO


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Range": f"bytes 5-{len(ISO) - 1}/{len(ISO)}", "Content-Length": str(len(ISO) - 5)}, 409),
        ({"Content-Range": f"bytes 0-{len(ISO)}/{len(ISO) + 1}", "Content-Length": str(len(ISO) + 1)}, 400),
        ({"Content-Range": f"bytes 0-{len(ISO) - 1}/{len(ISO)}", "Content-Length": str(len(ISO) + 1)}, 409),
        ({"Content-Length": str(len(ISO))}, 400),
        ({"Content-Range": f"bytes 0-{len(ISO) - 1}/{len(ISO)}", "Content-Length": "-1"}, 400),
    ],
)
def test_what_is_not_the_missing_part_is_not_taken(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    target = tmp_path / "t"
    server = serve({"bind": "127.0.0.1:0", "token": TOKEN, "target": str(target), "size": len(ISO)})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)  # type: ignore[arg-type]
        connection.putrequest("PUT", "/iso")
        for name, value in {"Authorization": f"Bearer {TOKEN}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)
    assert not target.exists()


def test_a_receiver_without_tls_listens_on_the_loopback_alone() -> None:
    with pytest.raises(ValueError, match="expected TLS or an address of the loopback"):
        serve({"bind": "0.0.0.0:0", "token": TOKEN, "target": "/x", "size": 1})


@pytest.mark.parametrize(
    ("table", "named", "receive"),
    [
        ('[release]\nfolder = "/srv/releases"\n', "release.receive: expected HOST:PORT", None),
        ('[release]\nfolder = "srv"\nreceive = "192.0.2.1:9990"\n', "release.folder", None),
        ('[release]\nfolder = "/srv/releases"\nreceive = "192.0.2.1:9990"\n', None, "192.0.2.1:9990"),
        ("", None, None),
    ],
)
def test_a_folder_alone_can_be_published_to(tmp_path: Path, table: str, named: str | None, receive: str | None) -> None:
    made = World(tmp_path)
    file = made.site / "master.toml"
    file.write_text(file.read_text().partition("\n[gitea]")[0] + "\n" + table)
    if named is not None:
        with pytest.raises(SettingsError, match=named):
            _ = made.settings
        return
    settings = made.settings
    assert settings.receive == receive
    builders = {b.name: b for b in make_builders(settings, str(tmp_path))}
    assert ("publish" in builders, "deliver@host-a" in builders) == (receive is not None, receive is not None)
    if receive is not None:
        names = [step.step_class.__name__ for step in builders["publish"].factory.steps]
        assert names == ["Admit", "Fetch", "Assemble", "Shelve"], "no Gitea, no step for it"


@pytest.mark.parametrize(
    ("workers", "receive", "url", "named"),
    [
        ("tcp:9989:interface=192.0.2.1", "192.0.2.1:9990", "https://git.example.org", "gitea.receive"),
        ("tls:9989:interface=192.0.2.1", "192.0.2.1:9990", "http://git.example.org", "gitea.url"),
        ("tls:9989:interface=192.0.2.1", "192.0.2.1:9990", "https://git.example.org", None),
        ("tcp:9989:interface=127.0.0.1", "127.0.0.1:9990", "http://localhost:3000", None),
        ("tcp:9989:interface=127.0.0.1", "[::1]:9990", "http://[::1]:3000", None),
    ],
)
def test_settings_that_would_send_a_token_in_the_clear_are_refused(
    tmp_path: Path, workers: str, receive: str, url: str, named: str | None
) -> None:
    made = World(tmp_path, workers)
    made.gitea(receive, url)
    if named is None:
        assert made.settings.gitea is not None
    else:
        with pytest.raises(SettingsError, match=f"master.toml: {named}: expected"):
            _ = made.settings
