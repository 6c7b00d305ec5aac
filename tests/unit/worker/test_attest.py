"""Attest: what is read back goes into the statement, and output of another form is an error, never a traceback."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from silvermetal_proof.digest import measure
from silvermetal_proof.statement import Statement
from silvermetal_proof.statement.schema import Dependency
from silvermetal_worker.artefact import Found
from silvermetal_worker.attest import compose, dependencies, read_output
from silvermetal_worker.errors import WorkerError

from tests.unit.master.test_pinning import Repository
from tests.unit.proof.makers import A
from tests.unit.worker.orders import LOCK, PINS, make_order


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "a.iso").write_bytes(b"image")
    (folder / "BUILD_INFO").write_text("RECIPE=minimal-live\nTZ=UTC\n")
    (folder / "packages.lock").write_bytes(LOCK)
    return folder


def test_the_output_of_the_contract_is_read(output: Path) -> None:
    found = read_output(output)
    assert (found.iso.name, found.lock) == ("a.iso", LOCK)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.iso", None, "expected exactly one ISO, got 0"),
        ("b.iso", "second", "expected exactly one ISO, got 2"),
        ("BUILD_INFO", None, "BUILD_INFO: expected it in the build's output, got no file"),
        ("packages.lock", None, "packages.lock: expected it in the build's output, got no file"),
        ("BUILD_INFO", "A=" + "x" * 300_000, "BUILD_INFO: expected at most 262144 bytes, got more"),
    ],
)
def test_output_of_another_form_is_told(output: Path, name: str, text: str | None, message: str) -> None:
    if text is None:
        (output / name).unlink()
    else:
        (output / name).write_text(text)
    with pytest.raises(WorkerError, match=message):
        read_output(output)


def test_a_link_or_folder_is_no_iso(output: Path, tmp_path: Path) -> None:
    (output / "a.iso").rename(tmp_path / "elsewhere.iso")
    (output / "a.iso").symlink_to(tmp_path / "elsewhere.iso")
    (output / "b.iso").mkdir()
    with pytest.raises(WorkerError, match="exactly one ISO, got 0"):
        read_output(output)


def composed(output: Path) -> Statement:
    found = read_output(output)
    with found.iso.open("rb") as stream:
        measured = measure(stream, make_order().nonce)
    looked = Found(measured.size, iso9660=True, bootable=False)
    inputs = dependencies(output.parent / "checkout", "sha256:" + "b" * 64, found.lock)
    return compose(make_order(), found, measured=measured, found=looked, evidence=A.evidence, inputs=inputs)


def test_the_statement_says_what_was_read_back_not_what_was_ordered(output: Path) -> None:
    repository = Repository(output.parent / "checkout")
    statement = composed(output)
    names = {d.name: d for d in statement.predicate.build_definition.resolved_dependencies}
    commit = names["commit"].digest
    assert commit is not None
    assert commit.git_commit == repository.first, "of the checkout, not of the order"
    image = names["builder image"].digest
    assert image is not None
    assert f"sha256:{image.sha256}" != PINS.builder_image
    package = names["package bash:amd64"]
    assert (package.version, package.digest.sha256 if package.digest else None) == ("5.2-1", "0" * 64)
    assert statement.internal.build_info == {"RECIPE": "minimal-live", "TZ": "UTC"}
    assert (statement.internal.pins, statement.predicate.nonce) == (PINS.digest, make_order().nonce)
    measured = measure(io.BytesIO(b"image"), make_order().nonce)
    assert (statement.iso_sha256, statement.predicate.keyed_digest) == (measured.sha256[7:], measured.keyed[7:])
    assert (statement.predicate.artefact.bootable, statement.predicate.host) == (False, "host-a")
    assert Statement.read(statement.encode()) == statement


def test_an_image_of_a_registry_is_signed_by_both_its_names(output: Path) -> None:
    Repository(output.parent / "checkout")
    found = dependencies(output.parent / "checkout", f"sha256:{'b' * 64}", LOCK, f"sha256:{'c' * 64}")
    digests = {d.name: d.digest.sha256 for d in found if d.digest is not None}
    assert (digests["builder image"], digests["builder image digest"]) == ("b" * 64, "c" * 64)
    assert "builder image digest" not in {
        d.name for d in dependencies(output.parent / "checkout", f"sha256:{'b' * 64}", LOCK)
    }


def test_a_snapshot_in_a_locks_place_and_a_submodule_that_was_used_are_inputs(output: Path) -> None:
    checkout = output.parent / "checkout"
    repository = Repository(checkout)
    lock = b'{"architecture":"amd64","snapshot":"20260720T082444Z","suite":"trixie","version":1}'

    def inputs() -> dict[str, Dependency]:
        return {d.name: d for d in dependencies(checkout, f"sha256:{'b' * 64}", lock)}

    assert inputs()["debian snapshot"].version == "trixie 20260720T082444Z"
    other = Repository(output.parent / "other")
    repository.write(".gitmodules", f'[submodule "sub"]\n\tpath = sub\n\turl = {other.path}\n')
    repository.git("add", ".gitmodules")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{other.first},sub")
    assert "submodule sub" not in inputs(), "not fetched, so not used"
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    digest = inputs()["submodule sub"].digest
    assert digest is not None and digest.git_commit == other.first


@pytest.mark.parametrize(
    ("name", "text"),
    [("a b.iso", "image"), ("-o.iso", "image"), ("BUILD_INFO", "A=" + "x" * 33_000 + "\n")],
)
def test_what_no_statement_can_hold_is_told_in_a_sentence(output: Path, name: str, text: str) -> None:
    Repository(output.parent / "checkout")
    if name.endswith(".iso"):
        (output / "a.iso").unlink()
    (output / name).write_text(text)
    with pytest.raises(WorkerError, match=r"statement cannot be made: .*expected"):
        composed(output)
