"""What is looked at on a host: each check can be bad, says got and expected, and names what mends it."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner, Result
from silvermetal_proof import canonical
from silvermetal_proof.digest import sha256
from silvermetal_proof.pins.recipe import HOST_FLOORS
from silvermetal_worker import checks, engine_checks, enrol
from silvermetal_worker.builder_image import patiently
from silvermetal_worker.checks import Check
from silvermetal_worker.cli import main
from silvermetal_worker.engine import ContainerEngine, RegistryError, check_credentials
from silvermetal_worker.errors import WorkerError
from silvermetal_worker.preflight import checks as preflight
from silvermetal_worker.settings import WorkerDirectory
from silvermetal_worker.wanted import Wanted

from tests.unit.worker.orders import PINS, make_order

ROOT = Path(__file__).parents[3]


def of_name(found: list[Check], name: str) -> Check:
    (check,) = [c for c in found if c.name == name]
    return check


def test_each_floor_can_be_missed(tmp_path: Path) -> None:
    settings = {"HOST_CORES": "9999", "HOST_MEMORY_MB": "999999999", "HOST_DISK_MB": "999999999999"}
    found = list(checks.floors(settings, tmp_path))
    assert [c.good for c in found] == [False] * 3
    assert str(found[0]).startswith(f"NOT OK  cores: expected at least 9999, got {len(os.sched_getaffinity(0))}; ")
    assert all(c.mend for c in found)
    assert [c.good for c in checks.floors({}, tmp_path)] == [True] * 3


def test_a_module_is_loaded_or_built_in_or_missing(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/modules").write_text("dm_mod 1 0 - Live 0x0\n")
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\text4\n")
    (tmp_path / "sys/module/loop").mkdir(parents=True)
    settings = {"HOST_MODULES": "dm-mod ext4 loop squashfs"}
    found = list(checks.modules(settings, tmp_path / "proc", tmp_path / "sys"))
    assert [(c.name, c.good) for c in found] == [
        ("kernel module dm-mod", True),
        ("kernel module ext4", True),
        ("kernel module loop", True),
        ("kernel module squashfs", False),
    ]
    assert "`modprobe squashfs`" in str(found[-1])
    assert not list(checks.modules({}))
    (nothing,) = checks.modules({"HOST_MODULES": "loop"}, tmp_path / "none", tmp_path / "none")
    assert not nothing.good


def test_only_block_devices_are_loop_devices(tmp_path: Path) -> None:
    (tmp_path / "loop0").write_text("a file")
    (check,) = checks.loop_devices({"HOST_LOOP_DEVICES": "1"}, tmp_path)
    assert (check.good, check.got) == (False, "0")
    assert "mknod" in check.mend
    assert not list(checks.loop_devices({}, tmp_path))


def test_as_many_loop_devices_as_the_recipe_names_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loop0", "loop1", "loop-control", "loopx"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(Path, "is_block_device", lambda _self: True)
    for wanted, good in ((1, True), (2, True), (3, False)):
        (check,) = checks.loop_devices({"HOST_LOOP_DEVICES": str(wanted)}, tmp_path)
        assert (check.good, check.got) == (good, "2")


class _Shelf:
    """An engine whose images are a list, and a registry that has them or is down."""

    def __init__(self, registry: bool) -> None:
        self.images: list[str] = []
        self.registry = registry
        self.asked = 0

    def image_id(self, reference: str) -> str:
        if reference not in self.images:
            raise WorkerError(f"builder image: expected {reference}, got no such image")
        return "sha256:" + "a" * 64

    def pull(self, reference: str) -> None:
        self.asked += 1
        if not self.registry:
            raise RegistryError("connection refused")
        self.images.append(reference)


def test_an_image_is_pulled_by_its_digest_and_only_by_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_checks, "PULL_PAUSE_SECONDS", 0)
    pinned = "registry.example.org/builder@sha256:" + "b" * 64

    def bring(shelf: _Shelf, image: str, *, pull: bool) -> str:
        return engine_checks.bring(cast("ContainerEngine", shelf), image, pull=pull)

    up, down = _Shelf(registry=True), _Shelf(registry=False)
    with pytest.raises(WorkerError, match="no such image"):
        bring(up, pinned, pull=False)
    with pytest.raises(WorkerError, match="no such image"):
        bring(up, "sha256:" + "b" * 64, pull=True)
    assert up.asked == 0, "doctor brings nothing, and an id is in no registry"
    assert [bring(up, pinned, pull=True) for _ in range(2)] == ["sha256:" + "a" * 64] * 2
    assert up.asked == 1
    with pytest.raises(RegistryError, match="pulled 3 times, without success: connection refused"):
        bring(down, pinned, pull=True)
    assert down.asked == 3


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    assert checks.writable("store", tmp_path / "new/store").good
    assert list((tmp_path / "new/store").iterdir()) == []
    (tmp_path / "file").write_text("")
    bad = checks.writable("store", tmp_path / "file")
    assert not bad.good
    assert bad.mend.startswith("`chown ")


@pytest.mark.parametrize(("skew", "good"), [(0.0, True), (-89.0, True), (91.0, False), (-4000.0, False)])
def test_the_clocks_may_differ_by_a_minute_and_a_half(skew: float, good: bool) -> None:
    assert checks.clock(skew).good is good


@pytest.mark.parametrize(("bits", "good"), [("256\n", True), ("127\n", False), ("", False), (None, False)])
def test_a_kernel_without_entropy_is_told(tmp_path: Path, bits: str | None, good: bool) -> None:
    if bits is not None:
        (tmp_path / "sys/kernel/random").mkdir(parents=True)
        (tmp_path / "sys/kernel/random/entropy_avail").write_text(bits)
    check = checks.entropy(tmp_path)
    assert check.good is good
    assert check.mend
    assert checks.entropy().good, "the real one"


def some_lock(*digests: str) -> bytes:
    packages = [
        {
            "architecture": "all",
            "filename": f"pool/p{number}.deb",
            "name": f"p{number}",
            "sha256": digest,
            "size": 1,
            "version": "1",
        }
        for number, digest in enumerate(digests)
    ]
    return canonical.encode({"architecture": "amd64", "packages": packages, "suite": "trixie", "version": 1})


REAL = [sha256(word).removeprefix("sha256:") for word in (b"one", b"two")]


@pytest.mark.parametrize(
    ("lock", "ordered", "got"),
    [
        (some_lock(*REAL), "", "2 packages, each by a digest of its own"),
        (some_lock(*REAL), sha256(some_lock(*REAL)), "2 packages, each by a digest of its own"),
        (some_lock(*REAL), sha256(b"another"), "one with the digest sha256:"),
        (some_lock("0" * 64), "", "p0: a digest that is a placeholder (0000000000000000…)"),
        (some_lock(REAL[0], REAL[0]), "", "2 packages with 1 digests: one file under two names"),
        (b"{}", "", "package lock"),
    ],
)
def test_a_lock_pins_or_is_told(lock: bytes, ordered: str, got: str) -> None:
    check = checks.package_lock(lock, ordered)
    assert check.good is got.endswith("of its own")
    assert check.got.startswith(got)
    assert ("silvermetal-resolve-lock" in check.mend) is not check.good


class _Clock(http.server.BaseHTTPRequestHandler):
    """A web server whose clock says what ``at`` says."""

    at = 0.0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.at)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(("ahead", "good"), [(0, True), (-3600, False), (3600, False)])
def test_the_clock_is_compared_with_the_masters_web_page(ahead: int, good: bool) -> None:
    handler = type("At", (_Clock,), {"at": time.time() - ahead})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        skew = checks.clock_of(f"http://127.0.0.1:{server.server_port}/")
        thread.join(30)
    assert abs(skew - ahead) < 30
    assert checks.clock(skew).good is good


def test_a_volume_that_is_full_or_elsewhere_is_told(tmp_path: Path) -> None:
    assert checks.room_in("cache volume x", str(tmp_path), 1).good
    full = checks.room_in("cache volume x", str(tmp_path), 10**9)
    assert (full.good, full.expected, "MiB free" in full.got) == (False, "at least 1000000000 MiB free", True)
    assert "docker volume rm" in full.mend
    away = checks.room_in("cache volume x", "/no/such/place", 10**9)
    assert (away.good, "not looked at" in away.got) == (True, True)


@pytest.mark.parametrize(("mode", "good"), [(0o400, True), (0o600, True), (0o640, False), (0o644, False)])
def test_credentials_are_their_owners_alone(tmp_path: Path, mode: int, good: bool) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    file.chmod(mode)
    check = checks.of_error("registry's credentials", "x", lambda: check_credentials(str(file)))
    assert check.good is good
    assert check.got == (
        f"{file} is its owner's alone" if good else f"{file}: expected mode 0400 or 0600, got {mode:04o}"
    )
    assert not checks.of_error("x", "x", lambda: check_credentials(str(tmp_path / "none"))).good


def test_a_registry_is_asked_as_often_as_the_bound_says() -> None:
    asked: list[int] = []
    lines: list[str] = []

    def down() -> str:
        asked.append(1)
        raise RegistryError("connection refused")

    with pytest.raises(RegistryError, match="pushed 3 times, without success: connection refused") as caught:
        patiently(down, tries=3, pause=0, say=lines.append, what="pushed")
    assert (len(asked), caught.value.code) == (3, 7)
    assert lines == ["connection refused; try 2 of 3 in 0 s", "connection refused; try 3 of 3 in 0 s"]
    assert patiently(lambda: "digest", tries=1, pause=0, say=lines.append, what="pushed") == "digest"


@pytest.fixture
def directory(tmp_path: Path) -> WorkerDirectory:
    """A worker whose engine is not there."""
    values = {"name": "worker-host-a", "host": "host-a", "master": "localhost:1", "store": str(tmp_path / "store")}
    enrol.init(tmp_path / "w", {**values, "docker_host": f"unix://{tmp_path}/none"}, "word")
    return WorkerDirectory(tmp_path / "w")


def test_preflight_names_all_that_is_missing_at_once(directory: WorkerDirectory, tmp_path: Path) -> None:
    pins = PINS.model_copy(update={"settings": {"HOST_CORES": "9999", "HOST_MODULES": "no-such-module"}})
    found = list(preflight(make_order(host="host-b", pins=pins), directory, tmp_path, 1000.0))
    # Whether the environment's programs are on the PATH is the caller's.
    bad = [c.name for c in found if not c.good and not c.name.startswith("tool ")]
    assert bad == ["order", "clock", "cores", "kernel module no-such-module", "container engine"]
    assert of_name(found, "container engine").got.startswith("container engine: expected an answer at unix://")


def doctor(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "c/config").mkdir(parents=True)
    (tmp_path / "c/config/builder-image.env").write_text(f"BUILDER_IMAGE={PINS.builder_image}\n")
    (tmp_path / "c/config/tiny.conf").write_text('PACKAGES="a"\nHOST_LOOP_DEVICES=100000\n')
    return tmp_path / "c"


def test_doctor_ends_with_5_and_says_why(directory: WorkerDirectory, checkout: Path) -> None:
    done = doctor(directory.path, "--checkout", checkout, "--recipe", "tiny")
    assert done.exit_code == 5
    assert re.search(r"^NOT OK  loop devices: expected at least 100000 in /dev, got \d+; ", done.stdout, re.MULTILINE)
    assert re.search(r"^silvermetal-worker: this host is not ready: .*loop devices", done.stderr, re.MULTILINE)


def test_doctor_as_json_is_one_object_on_standard_output(directory: WorkerDirectory, checkout: Path) -> None:
    done = doctor(directory.path, "--checkout", checkout, "--recipe", "tiny", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ready"], told["recipe"]) == (5, False, "tiny")
    assert {"name", "good", "expected", "got", "mend"} == set(told["checks"][0])
    assert [c["mend"] != "" for c in told["checks"] if c["name"] == "loop devices"] == [True]


def test_doctor_refuses_a_call_that_is_wrong(directory: WorkerDirectory, checkout: Path) -> None:
    assert doctor(checkout, "--checkout", checkout, "--recipe", "tiny").exit_code == 2
    missing = doctor(directory.path, "--checkout", checkout, "--recipe", "no-such")
    assert (missing.exit_code, "expected config/no-such.conf in" in missing.stderr) == (2, True)
    (checkout / "config/builder-image.env").write_text("BUILDER_IMAGE=debian:13\n")
    assert doctor(directory.path, "--checkout", checkout, "--recipe", "tiny").exit_code == 3


def test_the_floors_of_the_recipes_are_in_their_files() -> None:
    def floors(recipe: str) -> list[int]:
        lines = dict(
            line.split("=", 1)
            for line in (ROOT / "config" / f"{recipe}.conf").read_text().splitlines()
            if line.startswith("HOST_")
        )
        return [int(lines[key]) for key in HOST_FLOORS]

    base, small = floors("silvermetal-base"), floors("minimal-live")
    assert [base[0], base[1] * 2**20 // 10**9, base[2] * 2**20 // 10**9] == [8, 15, 100], "8 cores, 15 of 16 GB, 100 GB"
    assert all(b > s > 0 for b, s in zip(base, small, strict=True))


def test_doctor_knows_a_commit_that_leaves_its_image_to_docker(checkout: Path) -> None:
    (checkout / "config/builder-image.env").write_text("BUILDER_IMAGE=docker/\n")
    assert Wanted.of_checkout(checkout, "tiny").image == "docker/"


def test_doctor_and_preflight_look_at_the_same(checkout: Path) -> None:
    wanted = Wanted.of_checkout(checkout, "tiny")
    pins = PINS.model_copy(update={"recipe": "tiny", "settings": wanted.settings})
    assert Wanted.of_pins(pins, checkout) == wanted


def test_a_snapshot_in_a_locks_place_is_one() -> None:
    data = b'{"architecture":"amd64","snapshot":"20260720T082444Z","suite":"trixie","version":1}'
    assert checks.package_lock(data).good
    assert not checks.package_lock(data, f"sha256:{'0' * 64}").good
    assert not checks.package_lock(data.replace(b"20260720T082444Z", b"latest")).good
