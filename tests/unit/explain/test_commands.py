"""The commands as a person and the master call them."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from silvermetal_explain.auditing import audit_command
from silvermetal_explain.cli import diff_command, excerpt_command, manifest_command, map_command
from silvermetal_explain.manifest import VERSION

from tests.cases.catalogue import ALL, text
from tests.cases.world import EPOCH, build

INFO = f"EFFECTIVE_SOURCE_DATE_EPOCH={EPOCH}\nMKSQUASHFS_OPTIONS=-comp zstd -b 128K\nLC_ALL=C.UTF-8\n"


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both."""
        return self.stdout + self.stderr


def call(command: click.Command, *words: object) -> Ended:
    """One command, in a process of its own: the memory limit that it sets itself is a process's."""
    done = subprocess.run(
        [sys.executable, "-m", "silvermetal_explain", str(command.name), *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def report(folder: Path, *words: object) -> dict[str, object]:
    """What diff says as JSON."""
    out = folder / "diff.json"
    done = call(diff_command, *words, "--json", out)
    assert done.exit_code in (0, 1), done.output
    found: dict[str, object] = json.loads(out.read_text())
    return found


def keys(document: dict[str, object]) -> set[tuple[str, str]]:
    """Where and what."""
    return {(d["layer_path"], d["what"]) for d in document["differences"]}  # type: ignore[attr-defined]


def test_manifests_tell_what_the_images_tell_and_excerpts_bring_the_evidence(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    for path, name in zip(pair, "ab", strict=True):
        assert call(manifest_command, path, "-o", tmp_path / f"{name}.json.gz").exit_code == 0
    manifests = [tmp_path / f"{n}.json.gz" for n in "ab"]
    assert sum(m.stat().st_size for m in manifests) < 0.1 * pair[0].stat().st_size
    images, small = report(tmp_path, *pair), report(tmp_path, *manifests)
    assert keys(images) == keys(small)
    assert {t["cause"] for t in images["todo"]} == {t["cause"] for t in small["todo"]}  # type: ignore[attr-defined]
    hostid = ("live/filesystem.squashfs → /etc/nvme/hostid", "content")
    log = ("live/filesystem.squashfs → /var/lib/dkms/tirdad/0.1/6.1.0-31-amd64/x86_64/log/make.log", "content")
    shapes = {(d["layer_path"], d["what"]): d.get("shape") for d in small["differences"]}  # type: ignore[attr-defined]
    assert (shapes[hostid], shapes[log]) == ("uuid", None), "small settings travel along, other files do not"
    (tmp_path / "want.json").write_text(json.dumps(small))
    for path, name in zip(pair, "ab", strict=True):
        assert (
            call(excerpt_command, path, "--want", tmp_path / "want.json", "-o", tmp_path / f"{name}.x.gz").exit_code
            == 0
        )
    full = report(tmp_path, *manifests, "--excerpt-a", tmp_path / "a.x.gz", "--excerpt-b", tmp_path / "b.x.gz")
    shapes = {(d["layer_path"], d["what"]): d.get("shape") for d in full["differences"]}  # type: ignore[attr-defined]
    assert "date" in shapes[log]


def test_an_image_can_be_compared_with_a_manifest(pair: tuple[Path, Path], tmp_path: Path) -> None:
    call(manifest_command, pair[1], "-o", tmp_path / "b.json")
    assert keys(report(tmp_path, pair[0], tmp_path / "b.json")) == keys(report(tmp_path, *pair))


def test_manifests_are_the_same_for_the_same_image(image: Path, tmp_path: Path) -> None:
    copy = tmp_path / image.name
    shutil.copyfile(image, copy)
    for source, name in ((image, "1.gz"), (copy, "2.gz")):
        assert call(manifest_command, source, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "1.gz").read_bytes() == (tmp_path / "2.gz").read_bytes()


def test_the_page_stands_alone_and_escapes_what_an_image_holds(tmp_path: Path) -> None:
    def evil(world: object) -> None:
        name = "<script>alert(1)</script>".replace("/", "_")
        world.put(f"/etc/{name}", f"<img src=x onerror=alert({world.side})>\x1b[31m\n")  # type: ignore[attr-defined]

    images = [build(tmp_path / n, s, [evil, ALL["nvme-hostid"]]) for s, n in enumerate("ab")]
    done = call(diff_command, *images, "--html", tmp_path / "page.html", "--text-dir", tmp_path / "text")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:|//)", page)
    assert "\x1b" not in page + done.output
    assert "width=device-width" in page
    assert "nvme" in page.lower()
    assert {p.name for p in (tmp_path / "text").iterdir()} == {"summary.txt", "todo.txt", "differences.txt"}


def test_exit_codes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert call(diff_command, pair[0], pair[0]).exit_code == 0
    assert call(diff_command, *pair).exit_code == 1
    assert call(diff_command, pair[0]).exit_code == 2
    assert call(diff_command, pair[0], tmp_path / "none.iso").exit_code == 3
    (tmp_path / "odd.json").write_text(f'{{"silvermetal_manifest": {VERSION}, "layers": [{{}}]}}')
    done = call(diff_command, tmp_path / "odd.json", tmp_path / "odd.json")
    assert done.exit_code == 3
    assert "expected one made by" in done.output


def test_map_names_every_byte_in_json(image: Path) -> None:
    done = call(map_command, image, "--json")
    rows = json.loads(done.stdout)
    assert sum(r["length"] for r in rows) == image.stat().st_size


def test_the_audit_passes_a_clean_image_and_fails_each_lever_that_had_no_effect(tmp_path: Path) -> None:
    (tmp_path / "BUILD_INFO").write_text(INFO)
    clean = build(tmp_path / "clean", 0, [])
    done = call(audit_command, clean, "--build-info", tmp_path / "BUILD_INFO", "--leak", "wilma-builder")
    assert done.exit_code == 0, done.output
    names = ["squashfs-mkfs-time", "squashfs-options", "machine-id", "ssh-host-keys", "random-seed", "apt-pkgcache", "log-files",
             "iso-volume-dates", "fat-times", "shadow-lastchange", "nvme-hostid", "apt-sources", "dkms-make-log"]  # fmt: skip
    spoilt = build(tmp_path / "spoilt", 1, [ALL[n] for n in names])
    out = tmp_path / "audit.json"
    done = call(audit_command, spoilt, "--build-info", tmp_path / "BUILD_INFO", "--json", out)
    assert done.exit_code == 1
    failed = {c["lever"] for c in json.loads(out.read_text())["levers"] if not c["ok"]}
    assert failed >= {
        "squashfs mkfs time", "MKSQUASHFS_OPTIONS -b", "no machine-id", "no host keys", "no random seed", "no caches", "no logs",
        "ISO volume dates", "FAT file times", "last change in /etc/shadow", "no NVMe host identity", "apt sources are public ones",
        "no build logs",
    }  # fmt: skip


def test_a_leak_is_named_by_path_and_a_word_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "BUILD_INFO").write_text(INFO)
    image, out = build(tmp_path / "a", 0, [ALL["host-name"]]), tmp_path / "audit.json"
    words = [image, "--build-info", tmp_path / "BUILD_INFO", "--json", out]
    assert call(audit_command, *words, "--leak", "wilma-builder").exit_code == 1
    assert {leak["path"] for leak in json.loads(out.read_text())["leaks"]} == {"live/filesystem.squashfs → /etc/issue"}
    assert call(audit_command, *words, "--leak", "abc").exit_code == 2


@pytest.mark.parametrize("script", ["diagnose-divergence.sh", "verify-reproducibility.sh"])
def test_the_scripts_refuse_wrong_usage_with_2(script: str) -> None:
    import subprocess

    root = Path(__file__).parents[3]
    done = subprocess.run(
        [root / "scripts" / script, "--nonsense"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2


def diagnose(*words: object) -> subprocess.CompletedProcess[str]:
    """The script."""
    argv = [str(Path(__file__).parents[3] / "scripts/diagnose-divergence.sh"), *map(str, words)]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


def test_diagnose_divergence_ends_with_the_codes_that_it_names(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert diagnose(pair[0], pair[0], out).returncode == 0
    done = diagnose(*pair, out)
    assert done.returncode == 1, done.stderr
    assert "nvme" in done.stdout
    assert {p.name for p in out.iterdir()} == {
        "summary.txt", "todo.txt", "differences.txt", "report.json", "report.html",
    }  # fmt: skip
    assert diagnose(pair[0]).returncode == 2
    assert diagnose(pair[0], tmp_path / "none.iso", out).returncode == 3
    (tmp_path / "odd.iso").write_text("no image")
    assert diagnose(pair[0], tmp_path / "odd.iso", out).returncode == 3
    inodes = struct.pack(
        "<5I6H8Q", 0x73717368, 4_000_000_000, 0, 131072, 0, 1, 17, 0, 1, 4, 0, 0, 4096, 0, 0, 96, 96, 96, 96
    )
    case = text("live/huge.squashfs", inodes.ljust(4096, b"\0"), inodes.ljust(4096, b"\1"), "iso")
    done = diagnose(*(build(tmp_path / name, side, [case]) for side, name in enumerate("ab")), out)
    assert done.returncode == 4, done.stderr
    assert "inodes" in done.stderr


def test_a_closer_look_is_bounded_and_says_why_it_was_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [build(tmp_path / n, s, [ALL["elf-code"]]) for s, n in enumerate("ab")]
    monkeypatch.setenv("PATH", str(tmp_path))
    found = report(tmp_path, *images, "--deep")
    assert found["notes"] == ["1 binary files were not looked into: diffoscope is not installed."], found["differences"]
    monkeypatch.undo()
    if shutil.which("diffoscope"):
        found = report(tmp_path, *images, "--deep")
        assert any("diffoscope" in line for line in found["differences"][0]["evidence"])  # type: ignore[index]
