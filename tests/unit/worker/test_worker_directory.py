"""A worker's folder: made once with private modes, read strictly; the build's environment; kept artefacts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from silvermetal_proof.order import Order
from silvermetal_proof.statement import SigningKey
from silvermetal_worker import enrol
from silvermetal_worker.build import check_tree, command, environment
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError
from silvermetal_worker.keep import keep
from silvermetal_worker.settings import DIRECTORY_VARIABLE, WorkerDirectory

from tests.unit.worker.orders import make_order

VALUES = {"name": "host-a", "host": "host-a", "master": "192.0.2.1:9989", "store": "/var/lib/store"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    enrol.init(tmp_path / "worker", dict(VALUES), "the password")
    return tmp_path / "worker"


def test_a_new_folder_has_a_key_of_its_own_and_private_modes(directory: Path) -> None:
    modes = {str(p.relative_to(directory)): p.stat().st_mode & 0o777 for p in directory.rglob("*")}
    assert modes["keys"] == 0o700
    assert modes["keys/signing.pem"] == modes["keys/tls.key"] == modes["password"] == 0o600
    key = SigningKey.from_pem((directory / "keys" / "signing.pem").read_bytes())
    assert (directory / "keys" / "signing.pub").read_text() == f"{key.public.hex}\n"
    assert (directory / "password").read_text() == "the password\n"
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in ("signing.pem", "tls.key", "password"):
            assert b"the password" not in path.read_bytes()
            assert b"PRIVATE KEY" not in path.read_bytes()


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        enrol.init(tmp_path / "worker", dict(VALUES), "the password")
    finally:
        os.umask(before)
    assert (tmp_path / "worker" / "password").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "worker" / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600


def test_settings_go_round_with_any_line(tmp_path: Path) -> None:
    odd = 'a "quoted" \\ store é'
    enrol.init(tmp_path / "worker", {**VALUES, "store": odd}, "p")
    assert WorkerDirectory(tmp_path / "worker").settings.store == odd


def test_an_existing_folder_is_never_changed(directory: Path) -> None:
    before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    with pytest.raises(WorkerError, match=r"expected a new directory, got one with a worker\.toml") as caught:
        enrol.init(directory, dict(VALUES), "another")
    assert caught.value.code == EXIT_USAGE
    (directory / "worker.toml").unlink()
    with pytest.raises(FileExistsError):
        enrol.init(directory, dict(VALUES), "another")
    assert all(p.read_bytes() == data for p, data in before.items() if p.name != "worker.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../x"}, "worker settings: name: expected"),
        ({"host": ""}, "worker settings: host: expected"),
        ({"master": "192.0.2.1"}, "worker settings: master: expected"),
        ({"master": "a b:1"}, "worker settings: master: expected"),
        ({"store": "a\nb"}, "worker settings: store: expected"),
        ({"engine": "rkt"}, "worker settings: engine: expected"),
        ({"sudo": "yes"}, "worker settings: sudo: expected Extra inputs"),
    ],
)
def test_values_that_are_not_acceptable_leave_nothing_behind(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(WorkerError, match=message) as caught:
        enrol.init(tmp_path / "worker", {**VALUES, **change}, "p")
    assert caught.value.code == EXIT_USAGE
    assert not (tmp_path / "worker").exists()


def test_a_password_is_needed(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="password on standard input, got nothing"):
        enrol.init(tmp_path / "worker", dict(VALUES), "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no worker's directory: expected worker.toml, got none"),
        ("= =", "worker.toml: expected TOML, got"),
        ("surprise = 1", "worker.toml: "),
        ('name = 1\nhost="a"\nmaster="a:1"\nstore="/s"', "worker.toml: name: expected Input should be a valid string"),
        ('name="a"\nhost="a"\nmaster="a:1"\nstore="/s"\nkeep_artefacts=0', "worker.toml: keep_artefacts: expected"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "worker.toml").write_text(text)
    with pytest.raises(WorkerError, match=message) as caught:
        WorkerDirectory(tmp_path)
    assert (caught.value.code, str(tmp_path) in str(caught.value)) == (EXIT_USAGE, True)


def test_the_folder_is_named_by_the_environment(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    with pytest.raises(WorkerError, match=f"expected {DIRECTORY_VARIABLE} to name"):
        WorkerDirectory.from_environment()
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(directory))
    assert WorkerDirectory.from_environment().settings.host == "host-a"


def test_a_key_that_others_can_read_or_that_is_gone_is_refused(directory: Path) -> None:
    worker = WorkerDirectory(directory)
    file = directory / "keys" / "signing.pem"
    file.chmod(0o640)
    with pytest.raises(WorkerError, match="expected mode 0600, got 0640; `chmod 600` it") as caught:
        worker.signing_key()
    assert caught.value.code == EXIT_HOST_NOT_READY
    file.chmod(0o600)
    file.write_bytes(b"no key")
    with pytest.raises(WorkerError, match="private key cannot be read"):
        worker.signing_key()
    file.unlink()
    with pytest.raises(WorkerError, match="expected the host's signing key, got no file"):
        worker.signing_key()


# The build's environment and call


@pytest.fixture
def order() -> Order:
    return make_order()


def test_the_build_inherits_nothing_but_path_and_home(
    directory: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TOKEN", "WORKERPASS", "LD_PRELOAD", "LANG", "TZ", "DOCKER_HOST", "SOURCE_DATE_EPOCH", "http_proxy"):
        monkeypatch.setenv(name, "from outside")
    env = environment(order, WorkerDirectory(directory).settings)
    assert "from outside" not in env.values()
    assert set(env) == {
        "PATH",
        "HOME",
        "LC_ALL",
        "TZ",
        "BUILDER_IMAGE",
        "SOURCE_DATE_EPOCH",
        "SILVERMETAL_BUILD_TIMEOUT",
        "CONTAINER_ENGINE",
    }
    assert (env["SOURCE_DATE_EPOCH"], env["BUILDER_IMAGE"]) == ("1", order.pins.builder_image)
    assert (env["LC_ALL"], env["TZ"]) == ("C.UTF-8", "UTC")


def test_the_call_names_what_was_ordered(directory: Path, order: Order) -> None:
    argv = command(order, WorkerDirectory(directory).settings, lock=Path("/l"), output=Path("/o"))
    assert argv == [
        "bash",
        "scripts/build.sh",
        "--recipe",
        "minimal-live",
        "--lock",
        "/l",
        "--output",
        "/o",
        "--store",
        "/var/lib/store",
    ]


def test_a_tree_at_another_commit_or_with_dirt_is_not_built(tmp_path: Path) -> None:
    from tests.unit.master.test_pinning import Repository

    repository = Repository(tmp_path / "r")
    check_tree(repository.path, repository.first)
    with pytest.raises(WorkerError, match=f"checkout: expected commit {'d' * 40}, got {repository.first}"):
        check_tree(repository.path, "d" * 40)
    (repository.path / "untracked").write_text("x")
    with pytest.raises(WorkerError, match="checkout: expected a clean tree, got '\\?\\? untracked'"):
        check_tree(repository.path, repository.first)


# Keeping artefacts


def test_the_newest_are_kept_and_nothing_else_is_removed(tmp_path: Path) -> None:
    artefacts = tmp_path / "artefacts"
    (artefacts / "notes").mkdir(parents=True)
    (artefacts / "readme").write_text("x")
    (tmp_path / "beside").mkdir()
    for number in range(5):
        output = tmp_path / "output"
        output.mkdir()
        (output / "a.iso").write_text(str(number))
        kept = keep(output, artefacts, f"{number:032x}", 2, days=36500, mebibytes=100)
        os.utime(kept, (number + 1, number + 1))
        assert not output.exists()
    assert sorted(p.name for p in artefacts.iterdir()) == [f"{3:032x}", f"{4:032x}", "notes", "readme"]
    assert (artefacts / f"{4:032x}" / "a.iso").read_text() == "4"
    assert (tmp_path / "beside").is_dir()


def test_a_build_that_is_attested_twice_keeps_the_newer_output(tmp_path: Path) -> None:
    for text in ("old", "new"):
        (tmp_path / "output").mkdir()
        (tmp_path / "output" / "a.iso").write_text(text)
        keep(tmp_path / "output", tmp_path / "artefacts", "a" * 32, 3, days=30, mebibytes=100)
    assert (tmp_path / "artefacts" / ("a" * 32) / "a.iso").read_text() == "new"


def test_artefacts_are_bounded_by_age_and_size_and_the_newest_stays(tmp_path: Path) -> None:
    artefacts = tmp_path / "artefacts"

    def build(number: int, size: int, age_days: float = 0) -> None:
        output = tmp_path / "output"
        output.mkdir()
        (output / "x.iso").write_bytes(bytes(size))
        kept = keep(output, artefacts, f"{number:032x}", 10, days=30, mebibytes=2)
        moment = time.time() - age_days * 86400
        os.utime(kept, (moment, moment))

    def there() -> list[int]:
        return sorted(int(p.name, 16) for p in artefacts.iterdir())

    build(1, 1000, age_days=31)
    build(2, 1000, age_days=29)
    build(3, 1000, age_days=1)
    assert there() == [2, 3], "31 days is too old"
    build(4, 2**21 - 1500, age_days=0.5)
    assert there() == [3, 4], "the oldest goes for the size"
    build(5, 2**22)
    assert there() == [5], "the newest stays, whatever it needs"
