"""How fast and how small explaining is, beside cmp and diffoscope in the same run.

Figures are printed and kept in a JSON file beside the pair. What is asserted is a ratio within one run, so that it holds on a slow
machine too. Run: pytest tests/bench/test_explain_bench.py -m bench -s
SILVERMETAL_BENCH_MIB (default 1000) is the size of the images, SILVERMETAL_BENCH_TREES the directories they are filled from;
what these lack is filled up with random bytes, as firmware and compressed documentation are.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from silvermetal_master.steps.look_closer import budget

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]
EPOCH = "1700000000"
MIB = int(os.environ.get("SILVERMETAL_BENCH_MIB", "1000"))
TREES = os.environ.get("SILVERMETAL_BENCH_TREES", "/usr/share:/usr/lib:/usr/bin").split(":")
DIFFOSCOPE_LIMIT = int(os.environ.get("SILVERMETAL_BENCH_DIFFOSCOPE_SECONDS", "1200"))
BLOB = 4 << 20
VARYING = ("etc/nvme/hostid", "etc/nvme/hostnqn", "var/lib/dkms/tirdad/0.1/6.1.0/x86_64/log/make.log")


def timed(*argv: str, limit: int = 3600) -> tuple[float, float, int, int]:
    """Wall seconds, CPU seconds, peak KiB and exit code of one command."""
    begun = time.monotonic()
    child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                                                                     (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])  # fmt: skip
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, code
        if time.monotonic() - begun > limit:
            os.kill(child, 15)
            os.waitpid(child, 0)
            return time.monotonic() - begun, float("nan"), -1, -15
        time.sleep(0.005)


def fill(root: Path) -> None:
    """Real files of this machine up to the size asked for, compressed to about half."""
    left = MIB << 20
    for tree in TREES:
        for folder, _, names in os.walk(tree):
            for name in sorted(names):
                source = Path(folder) / name
                if source.is_symlink() or not source.is_file() or left <= 0:
                    continue
                target = root / str(source).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
                left -= source.stat().st_size


def run(argv: list[str]) -> None:
    """One tool, with the epoch."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=3600)


def squash(root: Path, target: Path) -> None:
    """Pack it as a live system is packed, but fast."""
    run(
        [
            "mksquashfs",
            str(root),
            str(target),
            "-comp",
            "zstd",
            "-Xcompression-level",
            "1",
            "-noappend",
            "-quiet",
            "-no-progress",
        ]
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two images that differ in three files; one of them changes its size."""
    for tool in ("mksquashfs", "xorriso"):
        if shutil.which(tool) is None:
            pytest.skip(f"not installed: {tool}")
    folder = tmp_path_factory.mktemp("bench")
    root = folder / "root"
    root.mkdir()
    fill(root)
    squash(root, folder / "try.squashfs")
    lacking = (MIB << 20) - (folder / "try.squashfs").stat().st_size
    (folder / "try.squashfs").unlink()
    blobs = root / "usr/lib/firmware"
    blobs.mkdir(parents=True, exist_ok=True)
    for number in range(max(0, lacking) // BLOB):
        (blobs / f"blob{number}").write_bytes(os.urandom(BLOB))
    images = []
    for side in range(2):
        for name in VARYING:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{uuid.uuid4()}\n" * (1 + 700 * (side + 1) * name.endswith("make.log")))
        live = folder / f"{side}" / "live"
        live.mkdir(parents=True)
        squash(root, live / "filesystem.squashfs")
        image = folder / f"{side}.iso"
        run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", str(image), str(folder / f"{side}")])
        images.append(image)
    shutil.rmtree(root)
    return images


def test_against_cmp_and_diffoscope(pair: list[Path]) -> None:
    same = pair[0].with_name("same.iso")
    shutil.copyfile(pair[0], same)
    report = pair[0].with_name("report.json")
    silvermetal = [sys.executable, "-m", "silvermetal_explain"]
    figures: dict[str, object] = {"image_bytes": pair[0].stat().st_size}
    walls: dict[str, list[float]] = {"cmp": [], "diff": []}
    for _ in range(5):  # cmp ends at the first difference, so a whole reading is timed on equal images
        walls["cmp"].append(timed("cmp", str(pair[0]), str(same))[0])
        wall, _, peak, code = timed(*silvermetal, "diff", str(pair[0]), str(pair[1]), "--json", str(report))
        assert code == 1
        walls["diff"].append(wall)
        figures["diff_peak_kib"] = peak
        assert peak <= 256 * 1024
    found = {d["layer_path"] for d in json.loads(report.read_text())["differences"] if d["what"] == "content"}
    assert found == {f"live/filesystem.squashfs → /{name}" for name in VARYING}
    medians = {name: sorted(values)[2] for name, values in walls.items()}
    figures |= {f"{name}_seconds": round(value, 3) for name, value in medians.items()}
    figures["diff_to_cmp"] = round(medians["diff"] / medians["cmp"], 2)
    manifests = []
    for image in pair:
        manifests.append(image.with_suffix(".json.gz"))
        wall, _, peak, code = timed(*silvermetal, "manifest", str(image), "-o", str(manifests[-1]))
        assert (code, peak <= 256 * 1024) == (0, True), (code, peak)
        figures |= {"manifest_seconds": round(wall, 2), "manifest_peak_kib": peak}
    want = report.with_name("want.json")
    wall, _, peak, code = timed(*silvermetal, "diff", *map(str, manifests), "--json", str(want))
    assert code == 1
    figures |= {"manifest_diff_seconds": round(wall, 2), "manifest_diff_peak_kib": peak}
    moved = sum(m.stat().st_size for m in manifests)
    figures["manifest_share_of_iso"] = round(moved / 2 / pair[0].stat().st_size, 5)
    together = str(budget(pair[0].stat().st_size, moved))  # what the master's step look-closer would ask for
    for image in pair:
        excerpt = image.with_suffix(".excerpt.json.gz")
        assert (
            timed(*silvermetal, "excerpt", str(image), "--want", str(want), "-o", str(excerpt), "--together", together)[
                3
            ]
            == 0
        )
        moved += excerpt.stat().st_size
    figures |= {"moved_across_hosts": moved, "moved_share_of_iso": round(moved / pair[0].stat().st_size, 5)}
    if shutil.which("diffoscope"):
        squashes = [str(image.with_suffix("") / "live/filesystem.squashfs") for image in pair]
        wall, cpu, peak, code = timed("diffoscope", *squashes, limit=DIFFOSCOPE_LIMIT)
        figures |= {"diffoscope_seconds": round(wall, 1), "diffoscope_cpu_seconds": round(cpu, 1), "diffoscope_peak_kib": peak,
                    "diffoscope_exit": code, "diffoscope_to_diff": round(wall / medians["diff"], 1)}  # fmt: skip
    figures["own_peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("\n" + json.dumps(figures, indent=1))
    pair[0].with_name("figures.json").write_text(json.dumps(figures))
    assert moved <= pair[0].stat().st_size / 100
    assert figures["diff_to_cmp"] <= 3  # type: ignore[operator]
    assert float(figures.get("diffoscope_to_diff", 50)) >= 50  # type: ignore[arg-type]
