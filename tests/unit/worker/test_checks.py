"""What is looked at on a host: each check can be bad, says got and expected, and names what mends it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from silvermetal_worker import checks, enrol
from silvermetal_worker.checks import Check
from silvermetal_worker.cli import main
from silvermetal_worker.preflight import Wanted
from silvermetal_worker.preflight import checks as preflight
from silvermetal_worker.settings import WorkerDirectory

from tests.unit.worker.orders import PINS, make_order


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


def test_doctor_and_preflight_look_at_the_same(checkout: Path) -> None:
    wanted = Wanted.of_checkout(checkout, "tiny")
    pins = PINS.model_copy(update={"recipe": "tiny", "settings": wanted.settings})
    assert Wanted.of_pins(pins, checkout) == wanted
