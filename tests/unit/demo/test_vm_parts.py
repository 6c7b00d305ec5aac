"""What the guests are made of, as far as it needs no guest."""

from __future__ import annotations

import json
import lzma
import tarfile
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from silvermetal_demo import vm_acceleration
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.vm_acceleration import BY_EMULATION, BY_PROCESSOR, find_acceleration, kvm_boots, remembered
from silvermetal_demo.vm_handover import write_own_files
from silvermetal_demo.vm_kernel import copy_modules
from silvermetal_demo.vm_shelf import Shelf, key_of


def module(folder: Path, name: str, depends: str, *, packed: bool = False) -> None:
    content = b"\x7fELF...\0license=GPL\0depends=" + depends.encode() + b"\0name=" + name.encode() + b"\0"
    path = folder / f"{name}.ko.xz" if packed else folder / f"{name}.ko"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_modules_come_with_what_they_need_and_in_order(tmp_path: Path, packed: bool) -> None:
    modules, target = tmp_path / "modules", tmp_path / "target"
    target.mkdir()
    module(modules / "fs", "ext4", "jbd2,mbcache", packed=packed)
    module(modules / "fs", "jbd2", "crc16", packed=packed)
    module(modules / "fs", "mbcache", "", packed=packed)
    module(modules / "lib", "crc16", "", packed=packed)
    module(modules / "drivers", "virtio-net", "failover", packed=packed)
    module(modules / "drivers", "failover", "", packed=packed)
    module(modules / "drivers", "never_asked_for", "", packed=packed)
    wanted = tmp_path / "modules.list"
    wanted.write_text("# a comment\next4\nbuilt_in_here\nvirtio_net\n")

    copy_modules(modules, wanted, target)

    order = (target / "order").read_text().split()
    assert sorted(order) == ["crc16.ko", "ext4.ko", "failover.ko", "jbd2.ko", "mbcache.ko", "virtio_net.ko"]
    assert order.index("crc16.ko") < order.index("jbd2.ko") < order.index("ext4.ko")
    assert order.index("failover.ko") < order.index("virtio_net.ko")
    assert (target / "ext4.ko").read_bytes().startswith(b"\x7fELF"), "unpacked"


def test_the_shelf_makes_a_thing_once_and_keeps_two(tmp_path: Path) -> None:
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append(folder.name)
        (folder / "disk").write_text("x")

    shelf = Shelf(tmp_path / "vm")
    first = shelf.provide("root", key_of("1"), make)
    assert shelf.provide("root", key_of("1"), make) == first
    assert len(made) == 1
    for number in "234":
        shelf.provide("root", key_of(number), make)
    shelf.provide("rooted", key_of("other kind"), make)
    assert len(list((tmp_path / "vm").glob("root-*"))) == 2
    assert shelf.find("root", key_of("4")) is not None
    assert shelf.find("root", key_of("1")) is None


def test_what_failed_half_way_is_not_on_the_shelf(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise SetupFailed("no")

    shelf = Shelf(tmp_path)
    with pytest.raises(SetupFailed):
        shelf.provide("root", "k", fail)
    assert shelf.find("root", "k") is None
    found = shelf.provide("root", "k", lambda folder: (folder / "whole").write_text("x") and None)
    assert [path.name for path in found.iterdir()] == ["whole"]


def test_keys_tell_lists_of_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")


def plan(tmp_path: Path) -> HostPlan:
    worker = tmp_path / "worker"
    (worker / "keys").mkdir(parents=True)
    (worker / "keys" / "signing.pem").write_text("secret")
    (worker / "keys" / "signing.pem").chmod(0o600)
    return HostPlan(
        name="host-a",
        run_name="run",
        address=IPv4Interface("10.213.0.11/24"),
        gateway=IPv4Address("10.213.0.1"),
        bridge="smbr0",
        mtu=1400,
        nameservers=("192.0.2.53",),
        worker_dir=worker,
        builder_archive=tmp_path / "builder.tar",
        builder_image="sha256:" + "1" * 64,
        store=tmp_path / "store",
        run_dir=tmp_path,
        keep_dir=tmp_path / "keep",
        log_dir=tmp_path,
        checkout=tmp_path,
        venv=tmp_path,
    )


def test_a_guests_own_files_are_for_it_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    assert write_own_files(plan(tmp_path / "a"), first) != write_own_files(plan(tmp_path / "b"), second)
    assert first.stat().st_mode & 0o777 == 0o600
    with tarfile.open(first) as archive:
        key = archive.getmember("var/lib/silvermetal/worker/keys/signing.pem")
        assert (key.mode, key.uid, key.gid) == (0o600, 0, 0)
        settings = archive.extractfile("etc/silvermetal/guest.env")
        assert settings is not None
        text = settings.read().decode()
    assert "ADDRESS=10.213.0.11/24\n" in text
    assert "MTU=1400\n" in text


def test_a_kvm_that_does_not_boot_a_kernel_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vm_acceleration.OVERRIDE, raising=False)
    kvm = tmp_path / "kvm"
    kvm.touch()
    monkeypatch.setattr(vm_acceleration, "KVM", kvm)
    no_kernel = tmp_path / "vmlinuz"
    no_kernel.write_bytes(b"this is no kernel")
    assert not kvm_boots(no_kernel, no_kernel, Interrupt())
    assert find_acceleration(tmp_path, no_kernel, no_kernel, Interrupt()) is BY_EMULATION
    assert json.loads((tmp_path / "acceleration.json").read_text())["kvm"] is False
    assert remembered(tmp_path) is BY_EMULATION


def test_what_was_found_on_another_machine_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vm_acceleration.OVERRIDE, raising=False)
    kvm = tmp_path / "kvm"
    monkeypatch.setattr(vm_acceleration, "KVM", kvm)
    (tmp_path / "acceleration.json").write_text('{"machine": "another", "kvm": true}')
    assert remembered(tmp_path) is BY_EMULATION, "no /dev/kvm at all"
    kvm.touch()
    assert remembered(tmp_path) is None


def test_the_user_may_say_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vm_acceleration.OVERRIDE, "kvm")
    assert remembered(tmp_path) is BY_PROCESSOR
    monkeypatch.setenv(vm_acceleration.OVERRIDE, "tcg")
    assert remembered(tmp_path) is BY_EMULATION
    monkeypatch.setenv(vm_acceleration.OVERRIDE, "xen")
    with pytest.raises(SetupFailed, match="got 'xen', expected kvm, tcg"):
        remembered(tmp_path)
