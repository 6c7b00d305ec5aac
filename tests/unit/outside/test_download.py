"""Fetching a release from a real web server that breaks off, lies about sizes and ranges, or sends one elsewhere."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from silvermetal_outside import download
from silvermetal_outside.download import DownloadError, base_of, fetch
from silvermetal_proof.cli.ends import End

from tests.unit.outside.test_verify_release import World

DATA = bytes(range(256)) * 4096


class Server:
    """Serves a folder; ``plan`` says by name how the next answers go wrong, ``asked`` which ranges were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/r/releases/download/v1/"

    def answer(self, handler: Any) -> None:
        name, given = handler.path.rsplit("/", 1)[-1], handler.headers.get("Range")
        self.asked.append((name, given))
        plan = self.plan.get(name) or []
        how = plan.pop(0) if plan else "well"
        path = self.folder / name
        if how.startswith("to "):
            handler.send_response(302)
            handler.send_header("Location", how[3:])
            handler.end_headers()
            return
        if how == "500" or not path.is_file():
            handler.send_error(500 if how == "500" else 404)
            return
        data = path.read_bytes()
        start = int(given[6:-1]) if given and how != "ignores ranges" else 0
        handler.send_response(206 if start else 200)
        if start:
            shown = start + 1 if how == "another range" else start
            handler.send_header("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}")
        body = data[start:]
        length = {"announces more": len(body) * 1000, "announces nothing": None}.get(how, len(body))
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if how == "breaks":
            body = body[: len(body) // 2]
        handler.wfile.write(body + (b"x" * 2**20 if how == "announces nothing" else b""))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "live.iso").write_bytes(DATA)
    running = Server(tmp_path / "served")
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join(10)


def take(server: Server, folder: Path, limit: int = len(DATA)) -> bytes:
    path = fetch(server.url, "live.iso", folder, limit=limit, progress=lambda *_: None)
    return path.read_bytes()


def test_a_download_that_breaks_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.plan["live.iso"] = ["breaks", "500", "breaks"]
    assert take(server, tmp_path) == DATA
    half = len(DATA) // 2
    expected = [None, f"bytes={half}-", f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert [given for _, given in server.asked] == expected


def test_a_second_call_takes_up_what_the_first_left(server: Server, tmp_path: Path) -> None:
    server.plan["live.iso"] = ["breaks", "500", "500", "500", "500"]
    with pytest.raises(DownloadError, match="call again to resume"):
        take(server, tmp_path)
    assert take(server, tmp_path) == DATA
    assert server.asked[-1][1] == f"bytes={len(DATA) // 2}-"


@pytest.mark.parametrize("how", ["ignores ranges", "another range"])
def test_a_server_that_does_not_give_the_range_is_asked_for_the_whole(server: Server, tmp_path: Path, how: str) -> None:
    server.plan["live.iso"] = ["breaks", how]
    assert take(server, tmp_path) == DATA


@pytest.mark.parametrize(("how", "says"), [("announces more", "announced"), ("announces nothing", "got more")])
def test_a_server_that_lies_about_sizes_is_refused(server: Server, tmp_path: Path, how: str, says: str) -> None:
    server.plan["live.iso"] = [how]
    with pytest.raises(DownloadError, match=f"expected at most {len(DATA)} bytes, got .*{says}|got more"):
        take(server, tmp_path)
    assert sum(p.stat().st_size for p in tmp_path.glob(".live*")) <= len(DATA)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/x", "FILE:///etc/passwd", "data:,x"])
def test_a_redirect_to_anything_but_http_is_refused(server: Server, tmp_path: Path, target: str) -> None:
    server.plan["live.iso"] = [f"to {target}"]
    with pytest.raises(DownloadError, match="expected a redirect to http"):
        take(server, tmp_path)
    assert not (tmp_path / "live.iso").exists()


def test_a_redirect_to_http_is_followed(server: Server, tmp_path: Path) -> None:
    server.plan["live.iso"] = [f"to {server.url}live.iso"]
    assert take(server, tmp_path) == DATA


def test_what_is_not_there_is_said_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected 200, got 404"):
        fetch(server.url, "nothing", tmp_path, limit=1, progress=lambda *_: None)
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["file:///tmp/v1", "ftp://example.org/v1", "https:///v1", "https://h/v1?x=1", "v1"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(DownloadError, match="expected an http or https address"):
        base_of(url)


def test_a_releases_page_is_understood() -> None:
    assert base_of("https://h/o/r/releases/tag/v1") == "https://h/o/r/releases/download/v1/"


def test_a_release_is_fetched_and_checked_by_its_address(server: Server, tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    server.folder = world.folder
    iso = world.file("*.iso").name
    server.plan[iso] = ["breaks"]
    page = server.url.replace("/download/", "/tag/").rstrip("/")
    result = world.check("--into", str(tmp_path / "got"), release=page)
    assert result.exit_code == End.HOLDS, result.stderr
    assert {p.name for p in (tmp_path / "got").iterdir()} == {p.name for p in world.folder.iterdir()}
    before = len(server.asked)
    assert world.check("--into", str(tmp_path / "got"), release=page).exit_code == End.HOLDS
    assert len(server.asked) == before + 3, "only the list and its signatures are asked for again"


def test_a_file_that_was_another_one_when_the_download_broke_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    """The server exchanged it between two attempts: the halves do not fit, and neither is believed."""
    world = World(tmp_path / "w")
    server.folder = world.folder
    iso = world.file("*.iso")
    data = iso.read_bytes()
    into = tmp_path / "got"
    into.mkdir()
    (into / f".{iso.name}.part").write_bytes(bytes(len(data) // 2))
    assert world.check("--into", str(into), release=server.url).exit_code == End.HOLDS
    assert (into / iso.name).read_bytes() == data
    assert [given for name, given in server.asked if name == iso.name] == [f"bytes={len(data) // 2}-", None]


def test_a_file_that_is_exchanged_under_way_is_refused_when_it_is_not_the_one_of_the_list(
    server: Server, tmp_path: Path
) -> None:
    world = World(tmp_path / "w")
    server.folder = world.folder
    iso = world.file("*.iso")
    server.plan[iso.name] = ["breaks"]
    data = iso.read_bytes()
    sent = server.answer

    def exchanged(handler: Any) -> None:
        sent(handler)
        if handler.path.endswith(iso.name):
            iso.write_bytes(bytes(len(data)))

    server.answer = exchanged  # type: ignore[method-assign]
    result = world.check("--into", str(tmp_path / "got"), release=server.url)
    assert result.exit_code == End.ISO, result.stderr
    assert not (tmp_path / "got" / iso.name).exists()
    assert not list((tmp_path / "got").glob(f".{iso.name}*")), "nothing of it is kept for the next call"


@pytest.mark.parametrize(
    ("pattern", "end"),
    [("*.iso", End.ISO), ("statement-host-a.json", End.STATEMENTS), ("BUILD_INFO", End.SUMS), ("SHA256SUMS", None)],
)
def test_a_swapped_file_is_refused_at_its_address(
    server: Server, tmp_path: Path, pattern: str, end: End | None
) -> None:
    world = World(tmp_path / "w")
    server.folder = world.folder
    path = world.file(pattern)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    result = world.check("--into", str(tmp_path / "got"), release=server.url)
    assert result.exit_code == (End.SIGNATURE if end is None else end), result.stderr


@pytest.mark.parametrize(("pattern", "end"), [("*.iso", End.ISO), ("statement-host-b.json", End.STATEMENTS)])
def test_a_file_that_the_list_names_and_the_server_has_not_is_named(
    server: Server, tmp_path: Path, pattern: str, end: End
) -> None:
    world = World(tmp_path / "w")
    server.folder = world.folder
    world.file(pattern).unlink()
    result = world.check("--into", str(tmp_path / "got"), release=server.url)
    assert (result.exit_code, "SHA256SUMS names it" in result.stderr) == (end, True), result.stderr


def test_a_server_that_is_away_has_a_code(world_free_port: int, tmp_path: Path, server: Server) -> None:
    world = World(tmp_path / "w")
    url = f"http://127.0.0.1:{world_free_port}/v1/"
    result = world.check("--into", str(tmp_path / "got"), release=url)
    assert result.exit_code == End.NETWORK
    assert world.check(release="file:///etc/v1").exit_code == End.NETWORK


@pytest.fixture
def world_free_port() -> int:
    from tests.support.processes import free_port

    return free_port()
