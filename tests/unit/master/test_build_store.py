"""The record of a build: names are checked before they become paths, secrets are the master's alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildStore, NoSuchBuildError
from silvermetal_master.errors import PinningError
from silvermetal_proof.order import Order
from silvermetal_proof.seal import open_sealed, seal
from silvermetal_proof.verdict import decide

from tests.unit.master.test_steps import open_build
from tests.unit.proof.makers import BUILD, COMMIT, REF, A, B, case, hex64


@pytest.mark.parametrize(
    "build",
    [
        "",
        "..",
        "../" * 10,
        BUILD.upper(),
        BUILD[:-1],
        BUILD + "\n",
        f"{BUILD}/x",
        "f" * 32,
        None,
        7,
        b"a" * 32,
        [BUILD],
    ],
)
def test_what_is_no_id_of_a_build_is_no_path(tmp_path: Path, build: object) -> None:
    open_build(tmp_path)
    with pytest.raises(NoSuchBuildError, match="expected the id of a build of this master"):
        BuildStore(tmp_path).record(build)


@pytest.mark.parametrize("host", ["..", "../../x", "/etc/passwd", "", "A", "a/b", "a\n", "-a", "x" * 65, "{0}"])
def test_what_is_no_name_of_a_host_is_no_path(tmp_path: Path, host: str) -> None:
    record = open_build(tmp_path)
    with pytest.raises(NoSuchBuildError, match="expected a host's name"):
        record.file("statements/{host}.json", host)
    with pytest.raises(NoSuchBuildError):
        record.write("statements/{host}.json", b"x", host=host)


@pytest.mark.parametrize("build", ["..", "", "x" * 32, BUILD + "/"])
def test_no_folder_is_made_for_what_is_no_id(tmp_path: Path, build: str) -> None:
    with pytest.raises(NoSuchBuildError, match="expected a build's id"):
        BuildStore(tmp_path).folder(build)
    with pytest.raises(FileExistsError):
        BuildStore(tmp_path).folder(open_build(tmp_path).id)


def test_each_host_has_an_order_with_its_own_nonce(tmp_path: Path) -> None:
    record = open_build(tmp_path)
    orders = {h: Order.read(record.file("orders/{host}.json", h).read_bytes()) for h in ("host-a", "host-b")}
    assert {h: o.nonce for h, o in orders.items()} == {h: hex64("nonce", h) for h in orders} == record.request.nonces
    assert {o.seal_key for o in orders.values()} == {record.sealing_key().public_hex}
    assert all((o.build, o.commit, o.ref) == (BUILD, COMMIT, REF) for o in orders.values())


def test_keys_and_orders_are_readable_by_the_master_alone(tmp_path: Path) -> None:
    record = open_build(tmp_path)
    modes = {str(p.relative_to(record.path)): p.stat().st_mode & 0o777 for p in record.path.rglob("*") if p.is_file()}
    secret = {name for name, mode in modes.items() if not mode & 0o077}
    assert secret == {"seal.key", "request.json", "orders/host-a.json", "orders/host-b.json"}


def test_after_the_verdict_nothing_opens(tmp_path: Path) -> None:
    record = open_build(tmp_path)
    key = record.sealing_key()
    sealed = seal(b"statement", public_hex=key.public_hex, build=BUILD, host="host-a")
    assert open_sealed(sealed, key=record.sealing_key(), build=BUILD, host="host-a") == b"statement"
    assert not record.judged
    verdict = decide(case(A, B))
    record.close(verdict)
    record.close(verdict)
    assert (record.judged, record.verdict) == (True, verdict)
    with pytest.raises(NoSuchBuildError, match="is judged: its sealing key is gone"):
        record.sealing_key()
    assert not list(record.path.rglob("seal*"))


def test_the_newest_end_of_a_ref(tmp_path: Path) -> None:
    store = BuildStore(tmp_path)
    assert store.newest(REF) is None
    store.note(REF, {"failed": "no such ref"})
    store.note("refs/tags/../../x", {"failed": "other"})
    store.note(REF, {"build": BUILD})
    assert store.newest(REF) == {"ref": REF, "build": BUILD}
    assert all(len(p.stem) == 64 for p in (tmp_path / "by-ref").iterdir()), "no ref becomes a path"
    next((tmp_path / "by-ref").iterdir()).write_bytes(b"[]")
    with pytest.raises(PinningError, match="expected an object, got list"):
        [store.newest(ref) for ref in (REF, "refs/tags/../../x")]
