"""The builder image: the archive's id is a function of the root file system, and the Dockerfile has no tag in it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def root_tar(mtime: int, user: str, log: bytes, last: str = "./usr/b") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (
            ("./etc/a", b"a"),
            ("./var/log/apt.log", log),
            ("./etc/hostname", log),
            (last, b"b"),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname, member.mode = len(content), mtime, user, 0o644
            tar.addfile(member, io.BytesIO(content))
        node = tarfile.TarInfo("./dev/null")
        node.type = tarfile.CHRTYPE
        tar.addfile(node)
    return buffer.getvalue()


def archive(folder: Path, name: str, tar: bytes) -> tuple[str, Path]:
    out = folder / name
    command = (ROOT / "scripts/docker-archive", out, "--epoch", "1700000000", "--tag", "builder:x")
    made = subprocess.run(command, input=tar, capture_output=True, timeout=60)
    assert made.returncode == 0, made.stderr
    return made.stdout.decode().strip(), out


def test_the_id_does_not_know_who_made_it(tmp_path: Path) -> None:
    first, one = archive(tmp_path, "one.tar", root_tar(1, "root", b"here"))
    second, two = archive(tmp_path, "two.tar", root_tar(2, "me", b"there"))
    assert first == second
    assert one.read_bytes() == two.read_bytes()
    assert archive(tmp_path, "three.tar", root_tar(1, "root", b"x", last="./usr/c"))[0] != first


@pytest.mark.parametrize(
    ("broken", "got"),
    [
        (lambda tar: tar.replace(b"./usr/b", b"./usr/c"), r"bad checksum, at byte 3072"),
        (lambda tar: tar[:3072], r"empty header, at byte 3072"),
        (lambda tar: tar[:3200], r"truncated header, at byte 3072"),
        (lambda tar: tar[:3585], r"unexpected end of data"),
        (lambda tar: tar.replace(b"./etc/a", b"./etc/b"), r"bad checksum"),
        (lambda _: b"", r"empty"),
        (lambda _: b"no tar" * 200, r"invalid header|bad checksum"),
    ],
    ids=["header", "no-end", "half-a-header", "half-a-file", "first-header", "nothing", "no-tar"],
)
def test_a_tar_that_is_not_whole_gives_no_image(tmp_path: Path, broken: Callable[[bytes], bytes], got: str) -> None:
    """Else the image would lack all that comes after, and would be pinned like that."""
    command = (ROOT / "scripts/docker-archive", tmp_path / "out", "--epoch", "1700000000", "--tag", "builder:x")
    done = subprocess.run(command, input=broken(root_tar(1, "root", b"x")), capture_output=True, timeout=60)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b""), said
    assert re.fullmatch(rf"docker-archive: expected a whole tar .*, got: .*({got}).*; no image was made\n", said), said
    assert list(tmp_path.iterdir()) == []


def test_the_archive_is_what_an_engine_reads(tmp_path: Path) -> None:
    image, path = archive(tmp_path, "one.tar", root_tar(1, "root", b"here"))
    with tarfile.open(path) as tar:
        read = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    (entry,) = json.loads(read["manifest.json"])
    config, layer = read[entry["Config"]], read[entry["Layers"][0]]
    assert image == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert inner.getnames() == ["etc/a", "usr/b"]


def test_the_dockerfile_takes_its_base_by_digest_only() -> None:
    text = (ROOT / "docker/Dockerfile.builder").read_text()
    assert {line.split()[0] for line in re.findall(r"^FROM (.*)$", text, re.MULTILINE)} == {"${BASE_IMAGE}"}
    (default,) = re.findall(r"^ARG BASE_IMAGE=(.*)$", text, re.MULTILINE)
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", default)


def packages(name: str) -> set[str]:
    lines = (ROOT / "docker" / name).read_text().splitlines()
    return {line for line in lines if line.strip() and not line.startswith("#")}


def test_what_was_once_found_missing_halfway_is_in_the_image() -> None:
    text = (ROOT / "docker/Dockerfile.builder").read_text()
    (lists,) = re.findall(r'^ARG LISTS="(.*)"$', text, re.MULTILINE)
    found = set().union(*(packages(name) for name in lists.split()))
    traps = {"sequoia-git", "debian-keyring", "reprepro", "xxd", "systemd-sysv", "sudo", "approx"}
    sanity = {"git", "time", "curl", "lsb-release", "fakeroot", "fasttrack-archive-keyring", "safe-rm", "gpg-sq"}
    assert found >= traps | sanity | packages("builder-packages.list")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--base", "debian:trixie-slim"], 4, "a tag names whatever was pushed last"),
        (["--no-such"], 2, "got the argument '--no-such'"),
        (["--archive"], 2, "--archive: got nothing"),
        ([], 4, "config/snapshot-pin.env: SNAPSHOT_TIMESTAMP: got ''"),
    ],
)
def test_an_image_is_made_from_pins_alone(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/make-builder-image", tmp_path / "scripts")
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/snapshot-pin.env").write_text("SNAPSHOT_TIMESTAMP=\nSUITE=trixie\n")
    done = subprocess.run(
        (tmp_path / "scripts/make-builder-image", *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr


def test_the_committed_pin_is_empty_or_a_digest() -> None:
    text = (ROOT / "config/builder-image.env").read_text()
    (value,) = re.findall(r"^BUILDER_IMAGE=(.*)$", text, re.MULTILINE)
    assert re.fullmatch(r"([^@\s]+@)?sha256:[0-9a-f]{64}|docker/|", value)


def test_the_pin_is_written(tmp_path: Path) -> None:
    """--pin replaces the value and keeps the words around it."""
    text = (ROOT / "scripts/bootstrap-builder.sh").read_text()
    sed = re.search(r'sed "(s\|\^BUILDER_IMAGE[^"]*)"', text)
    assert sed
    pin = tmp_path / "pin.env"
    pin.write_text("# why\nBUILDER_IMAGE=\n")
    script = sed[1].replace("$id", "sha256:abc")
    assert subprocess.check_output(("sed", script, pin), text=True) == "# why\nBUILDER_IMAGE=sha256:abc\n"
