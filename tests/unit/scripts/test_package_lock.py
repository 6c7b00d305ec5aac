"""The package lock: its one canonical form, what is taken from apt, and what a worker refuses in one it was sent."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
SHA = "0" * 63 + "a"
ENTRY: dict[str, Any] = {
    "name": "zlib1g",
    "version": "1:1.2.13.dfsg-1",
    "architecture": "amd64",
    "filename": "pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb",
    "size": 3,
    "sha256": SHA,
}


def load(name: str) -> ModuleType:
    module_name = name.replace("-", "_")
    loader = importlib.machinery.SourceFileLoader(module_name, str(SCRIPTS / name))
    spec = importlib.util.spec_from_loader(module_name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = keep
    return module


resolve = load("silvermetal-resolve-lock")
fetch = load("silvermetal-fetch")


def sources(*bases: str) -> list[Any]:
    return [resolve.Source("Debian", "bookworm", "bookworm", base, base.rstrip("/"), "/x") for base in bases]


def test_the_canonical_form() -> None:
    other = {**ENTRY, "name": "apt", "version": "2"}
    text = resolve.canonical("bookworm", "amd64", [ENTRY, other])
    assert text == resolve.canonical("bookworm", "amd64", [other, ENTRY])
    lines = text.split("\n")
    assert lines[0] == '{"version":1,"architecture":"amd64","suite":"bookworm","packages":['
    assert [line[:14] for line in lines[1:3]] == ['{"name":"apt",', '{"name":"zlib1']
    assert lines[3:] == ["]}", ""]
    assert json.loads(text)["packages"] == [other, ENTRY]


def test_a_line_of_apt() -> None:
    line = (
        "'http://mirror.example/debian/pool/main/b/busybox/busybox-static_1.35.0-4%2bdeb12u1%2bb1_amd64.deb' "
        f"busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb 928188 SHA256:{SHA}"
    )
    assert resolve.package(line, sources("http://mirror.example/debian/")) == {
        "name": "busybox-static",
        "version": "1:1.35.0-4+deb12u1+b1",
        "architecture": "amd64",
        "filename": "pool/main/b/busybox/busybox-static_1.35.0-4+deb12u1+b1_amd64.deb",
        "size": 928188,
        "sha256": SHA,
    }


def test_no_host_name_gets_in() -> None:
    """The longest base wins, so that the path is the same whatever a mirror calls its folders."""
    bases = ("mirror+file:/etc/apt/mirrors/debian.list/", "http://a.example/", "http://a.example/debian-security/")
    for base in bases[::2]:
        line = f"'{base}pool/updates/main/a/apt/apt_2.6.2_amd64.deb' apt_2.6.2_amd64.deb 1 SHA256:{SHA}"
        assert resolve.package(line, sources(*bases))["filename"] == "pool/updates/main/a/apt/apt_2.6.2_amd64.deb"


@pytest.mark.parametrize(
    "line",
    [
        f"'http://elsewhere.example/a_1_amd64.deb' a_1_amd64.deb 1 SHA256:{SHA}",
        "'http://a.example/a_1_amd64.deb' a_1_amd64.deb 1 MD5Sum:00",
        "'http://a.example/a_1_amd64.deb' a_1_amd64.deb 1",
    ],
)
def test_a_line_that_pins_nothing(line: str) -> None:
    with pytest.raises(resolve.CannotResolve):
        resolve.package(line, sources("http://a.example/"))


@pytest.mark.parametrize("release", ["bookworm-security", "bookworm-updates", "bookworm-backports", "bookworm/updates"])
def test_the_suite_of_a_release(release: str) -> None:
    assert resolve.suite_of(release) == "bookworm"


def lock(**change: Any) -> bytes:
    return json.dumps({"version": 1, "packages": [{**ENTRY, **change}]}).encode()


def test_a_good_lock() -> None:
    assert fetch.parse(lock())[0].sha256 == SHA


@pytest.mark.parametrize(
    "change",
    [
        {"filename": "/etc/passwd.deb"},
        {"filename": "pool/../../../etc/x.deb"},
        {"filename": "pool/a b.deb"},
        {"filename": "pool/x"},
        {"sha256": "../../x"},
        {"sha256": SHA.upper()},
        {"size": 0},
        {"size": "3"},
        {"size": True},
        {"extra": 1},
    ],
)
def test_an_entry_that_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(fetch.BadLock):
        fetch.parse(lock(**change))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"version":2,"packages":[]}', b'{"version":1,"packages":[]}', b"\xff"]
)
def test_a_lock_that_is_none(text: bytes) -> None:
    with pytest.raises(fetch.BadLock):
        fetch.parse(text)


def test_a_file_that_went_bad_in_the_store(tmp_path: Path) -> None:
    package = fetch.parse(lock(sha256=hashlib.sha256(b"abc").hexdigest()))[0]
    store = fetch.Store(tmp_path)
    store.folder.mkdir()
    assert store.lacks([package], 2) == [package]
    store.path(package).write_bytes(b"abc")
    assert store.lacks([package], 2) == []
    store.path(package).write_bytes(b"abd")
    assert store.lacks([package], 2) == [package]


def test_the_security_archive_is_asked_for_its_own_files() -> None:
    bases = ["http://a.example/debian/", "http://a.example/debian-security/"]
    main, updates = (fetch.parse(lock(filename=f"pool/{way}/z_1_amd64.deb")) for way in ("main", "updates/main"))
    assert fetch.order(bases, main) == bases
    assert fetch.order(bases, updates) == bases[::-1]


def test_exit_codes(tmp_path: Path) -> None:
    bad = tmp_path / "lock"
    bad.write_text("{}")

    def code(*command: object) -> int:
        return subprocess.run([str(x) for x in command], capture_output=True, timeout=60).returncode

    assert code(SCRIPTS / "silvermetal-fetch", bad, "--store", tmp_path / "store") == 2
    assert code(SCRIPTS / "silvermetal-fetch", tmp_path / "none", "--store", tmp_path / "store") == 2
    assert code(SCRIPTS / "silvermetal-resolve-lock", "--package", "--evil", "-o", tmp_path / "out") == 2
    assert code(SCRIPTS / "silvermetal-resolve-lock", "--package", "a b/c", "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()
