"""Pins: what is refused with file and line, and that our reading of ``config/`` is the shell's."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError
from silvermetal_proof.pins import (
    PackageLock,
    Setting,
    make_pins,
    parse_build_info,
    parse_env,
    parse_image,
    parse_recipe,
)
from silvermetal_proof.pins.pins import MAX_EPOCH, parse_epoch

IMAGE = "sha256:" + "a" * 64
RECIPE = b'PACKAGES="bash live-boot"\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lower=1", "expected KEY=value, quoted when it holds spaces, got lower=1"),
        ("KEY", "expected KEY=value"),
        ("KEY =1", "expected KEY=value"),
        ("KEY= 1", "expected KEY=value"),
        (" KEY=1", "expected KEY=value"),
        ("export KEY=1", "expected KEY=value"),
        ("KEY=a b", "expected KEY=value"),
        ('KEY="a', "expected KEY=value"),
        ('KEY="a"b', "expected KEY=value"),
        ("KEY='a'\"b\"", "expected KEY=value"),
        ("KEY=1 # why", "expected KEY=value"),
        ("KEY=$HOME", "KEY: expected a plain value"),
        ('KEY="`id`"', "KEY: expected a plain value"),
        ("KEY='a\\b'", "KEY: expected a plain value"),
        ("KEY=a;reboot", "expected"),
        ("KEY=a&", "expected"),
        ("KEY=a|b", "expected"),
        ("KEY=<a", "expected"),
        ("KEY=(a)", "expected"),
        ("KEY=~", "expected"),
        ("KEY=a\r", "expected"),
        ("KEY=a\u00a0", "expected"),
        ("\u00a0", "expected"),
        ('KEY="a\x00b"', "expected"),
        ("FIRST=2", r"FIRST stands twice: expected once \(config/x.env:2\), got 2"),
    ],
)
def test_a_line_that_the_shell_may_read_otherwise_is_refused_with_its_number(line: str, message: str) -> None:
    text = f"# comment\nFIRST=1\n\n{line}\n"
    with pytest.raises(MalformedError, match=rf"^config/x\.env:4.*{message}"):
        parse_env(text.encode(), "config/x.env")


ODD = st.text(st.sampled_from(list("aB1_=\"' \t#$`\\;&|<>()~*?[]{}!,.:/+@%^-\r\x0b\u00a0\x7fé")), max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["KEY", "OTHER"]), ODD), max_size=3))
def test_what_we_accept_the_shell_reads_alike(lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}={value}\n" for key, value in lines)
    try:
        ours = {key: s.value for key, s in parse_env(text.encode(), "x").items()}
    except MalformedError:
        return
    script = text + 'printf \'%s\\0%s\\0\' "${KEY-unset}" "${OTHER-unset}"'
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, timeout=20, check=True, cwd="/")
    key, other, rest = done.stdout.decode().split("\0")
    assert (key, other, rest) == (ours.get("KEY", "unset"), ours.get("OTHER", "unset"), "")
    assert done.stderr == b""


def test_values_and_where_they_stand() -> None:
    found = parse_env(b"# c\nA=\nB=\"x y\"\nC='z'  \n\t\nD=1.0~rc+b:/%,@-_", "f")
    assert {k: (s.value, s.where) for k, s in found.items()} == {
        "A": ("", "f:2"),
        "B": ("x y", "f:3"),
        "C": ("z", "f:4"),
        "D": ("1.0~rc+b:/%,@-_", "f:6"),
    }


def test_files_that_are_too_large_or_no_text_are_refused() -> None:
    with pytest.raises(MalformedError, match="f is too large: expected at most 262144 bytes"):
        parse_env(b"#" * 262145, "f")
    with pytest.raises(MalformedError, match="f is not UTF-8"):
        parse_env(b"A=\xff", "f")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "c:3: BUILDER_IMAGE is not pinned: expected .*bootstrap-builder.sh --pin"),
        ("debian:12", "c:3: BUILDER_IMAGE is not a pin: expected a digest; `docker image inspect .* debian:12` finds"),
        ("debian@sha256:abc", "is not a pin"),
        ("sha256:" + "A" * 64, "is not a pin"),
        (IMAGE + "\n", "is not a pin"),
        ("--privileged@" + IMAGE, "is not a pin"),
        ("a b@" + IMAGE, "is not a pin"),
    ],
)
def test_an_image_without_a_digest_is_no_pin(value: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse_image(Setting(value, "c:3"))


@pytest.mark.parametrize("value", [IMAGE, "debian@" + IMAGE, "host.example:5000/a/b_c-d@" + IMAGE])
def test_an_image_by_digest_is_a_pin(value: str) -> None:
    assert parse_image(Setting(value, "c:3")) == value


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 7),
        (b"# only a comment\n", 7),
        (b"SOURCE_DATE_EPOCH=\n", 7),
        (b"SOURCE_DATE_EPOCH=0\n", 0),
        (b"SOURCE_DATE_EPOCH=1767225600", 1767225600),
    ],
)
def test_the_epoch_is_the_commits_time_unless_the_file_says_another(data: bytes, expected: int) -> None:
    assert parse_epoch(data, "e", 7) == expected


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "1767225600000", str(MAX_EPOCH), "0x10"])
def test_another_epoch_is_refused(value: str) -> None:
    with pytest.raises(MalformedError, match=r"e:1: SOURCE_DATE_EPOCH: expected seconds since 1970"):
        parse_epoch(f"SOURCE_DATE_EPOCH={value}".encode(), "e", 7)
    with pytest.raises(MalformedError, match="e:1: unknown key EPOCH: expected one of SOURCE_DATE_EPOCH in e"):
        parse_epoch(b"EPOCH=1", "e", 7)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "config/r.conf: PACKAGES: expected the packages"),
        (b'PACKAGES=" "\n', "config/r.conf: PACKAGES"),
        (RECIPE + b"ARCHITECTURE=sparc\n", "config/r.conf: ARCHITECTURE: expected amd64 or arm64, got sparc"),
        (RECIPE + b"ISO_SIZE_FLOOR=1M\n", "config/r.conf:2: ISO_SIZE_FLOOR: expected a whole number, got 1M"),
        (RECIPE + b"ISO_SIZE_FLOOR=\n", "config/r.conf:2: ISO_SIZE_FLOOR"),
        (RECIPE + b"HOST_CORES=-1\n", "config/r.conf:2: HOST_CORES: expected a whole number"),
        (RECIPE + b"HOST_DISK_MB=9999999999999999\n", "config/r.conf:2: HOST_DISK_MB"),
    ],
)
def test_a_recipe_that_lacks_what_the_engine_needs_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse_recipe(data, "r")


def _pins(**changes: bytes) -> str:
    files = {"recipe": RECIPE, "epoch": b"", "image": f"BUILDER_IMAGE={IMAGE}\n".encode(), **changes}
    return make_pins(
        recipe=parse_recipe(files["recipe"], "r"),
        epoch=files["epoch"],
        image=files["image"],
        commit_time=int(files.get("commit_time", b"7")),
        lock=sha256(files.get("lock", b"")),
    ).digest


def test_every_pin_is_in_the_digest() -> None:
    digests = {
        _pins(),
        _pins(recipe=RECIPE + b"# a comment\n"),
        _pins(recipe=RECIPE + b"MKSQUASHFS_OPTIONS='-comp zstd'\n"),
        _pins(epoch=b"SOURCE_DATE_EPOCH=8\n"),
        _pins(commit_time=b"9"),
        _pins(lock=b"x"),
        _pins(image=f"BUILDER_IMAGE=debian@{IMAGE}".encode()),
    }
    assert len(digests) == 7
    assert _pins() in digests
    assert _pins(epoch=b"SOURCE_DATE_EPOCH=7") == _pins(), "the same value from the file is the same pin"


def test_the_image_file_is_strict() -> None:
    with pytest.raises(MalformedError, match=r"config/builder-image.env: BUILDER_IMAGE is not pinned"):
        _pins(image=b"")
    with pytest.raises(MalformedError, match=r"config/builder-image.env:1: unknown key IMAGE"):
        _pins(image=f"IMAGE={IMAGE}".encode())
    with pytest.raises(MalformedError, match="pins: source_date_epoch"):
        _pins(commit_time=str(MAX_EPOCH).encode())


PACKAGE = {
    "name": "bash",
    "version": "5.2-1",
    "architecture": "amd64",
    "filename": "pool/main/b/bash/bash_5.2-1_amd64.deb",
    "size": 1,
    "sha256": "0" * 64,
}


def lock(*packages: object, **changes: object) -> bytes:
    plain = {"version": 1, "architecture": "amd64", "suite": "bookworm", "packages": list(packages), **changes}
    return json.dumps(plain).encode()


def test_a_lock_is_read() -> None:
    found = PackageLock.read(lock(PACKAGE, {**PACKAGE, "name": "zsh"}))
    assert [p.name for p in found.packages] == ["bash", "zsh"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lock(), "packages: expected Tuple should have at least 1 item"),
        (lock(PACKAGE, PACKAGE), "is not sorted, or holds a package twice: expected sorted unique packages"),
        (lock({**PACKAGE, "name": "zsh"}, PACKAGE), "is not sorted"),
        (lock({**PACKAGE, "filename": "pool/a/../../etc/x.deb"}), "path leaves the pool: expected a path below pool/"),
        (lock({**PACKAGE, "filename": "/etc/x.deb"}), "packages.0.filename"),
        (lock({**PACKAGE, "filename": "https://host.example/x.deb"}), "packages.0.filename"),
        (lock({**PACKAGE, "filename": "pool/x.exe"}), "packages.0.filename"),
        (lock({**PACKAGE, "filename": "pool/a b.deb"}), "packages.0.filename"),
        (lock({**PACKAGE, "name": "-o"}), "packages.0.name"),
        (lock({**PACKAGE, "version": "1 2"}), "packages.0.version"),
        (lock({**PACKAGE, "size": 0}), "packages.0.size"),
        (lock({**PACKAGE, "size": "1"}), "packages.0.size"),
        (lock({**PACKAGE, "sha256": "sha256:" + "0" * 64}), "packages.0.sha256"),
        (lock({**PACKAGE, "url": "x"}), "packages.0.url"),
        (lock(PACKAGE, version=2), "version: expected Input should be 1"),
        (lock(PACKAGE, suite="../x"), "suite"),
        (b"[]", "l: "),
    ],
)
def test_a_lock_of_another_form_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message) as caught:
        PackageLock.read(data, "l")
    assert str(caught.value).startswith("l")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"A=1", "BUILD_INFO is torn: expected a newline at the end"),
        (b"A=1\n\n", "BUILD_INFO:2: expected KEY=value"),
        (b"a=1\n", "BUILD_INFO:1: expected KEY=value, got a=1"),
        (b"B=1\nA=1\n", "BUILD_INFO:2: expected sorted keys, once each, after B, got A"),
        (b"A=1\nA=1\n", "BUILD_INFO:2: expected sorted keys"),
        (b"A=\x1b[31m\n", "BUILD_INFO:1: expected KEY=value"),
        (b"A=1\r\n", "BUILD_INFO:1"),
        (b"A=\xff\n", "is not UTF-8"),
        (b"A=" + b"x" * 262144, "is too large"),
        (b"A" * 65 + b"=1\n", "BUILD_INFO:1"),
    ],
)
def test_a_build_info_of_another_form_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse_build_info(data)


def test_a_build_info_is_read_as_it_stands() -> None:
    found = parse_build_info('A=\nB_1=x = "y" $z\nC=é\n'.encode())
    assert found == {"A": "", "B_1": 'x = "y" $z', "C": "é"}
