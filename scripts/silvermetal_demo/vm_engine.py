"""An engine's disk with the builder image in it already: an emulated guest would take minutes to load it.

- Loaded here, by this machine's own engine program in a cell, into a folder that becomes a disk; what makes an engine
  itself (its id, its keys, its networks) is not in it.
- A convenience, never a proof: the guest's engine must report the image's id, and loads the archive itself where the
  disk does not hold it, or where none could be made.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.command import run
from silvermetal_demo.environment import SYSTEM_PATH
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, Workbench
from silvermetal_demo.vm_shelf import Shelf, key_of, pack_ext4

# For the writable layers of a build's containers.
ROOM = 3 * 2**30
# The image and its layers; all else in an engine's folder is that engine's own.
IMAGES = ("image", "overlay2")
SOCKET = "unix:///run/silvermetal-load.sock"


def provide_engine_disk(plan: HostPlan, bench: Workbench, shelf: Shelf) -> Path | None:
    """An ext4 image of /var/lib/docker with the builder image; None where this machine's engine makes none."""
    key = key_of(plan.builder_image, Path(__file__).read_bytes())
    try:
        return shelf.provide("engine", key, lambda folder: _make(plan, bench, folder)) / "engine.ext4"
    except SetupFailed as error:
        (plan.log_dir / "engine-disk.log").write_text(f"{error}\n")
        bench.progress.say("the guests load the builder image themselves (see logs/engine-disk.log)")
        return None


def _make(plan: HostPlan, bench: Workbench, folder: Path) -> None:
    bench.progress.say("loading the builder image for the guests ...")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        data, etc = Path(temporary) / "data", Path(temporary) / "etc"
        # The engine writes its key into /etc/docker; this machine's own stays as it is.
        run(["cp", "--archive", "/etc/.", etc], timeout=60, interrupt=bench.interrupt)
        (etc / "silvermetal-daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": False}}))
        isolation = Isolation(covers={"/etc": str(etc)}, empty=("/run",))
        cell = Cell("the guests' engine disk", isolation, bench.manifest, bench.interrupt)
        cell.start()
        try:
            _load(plan, bench, cell, data)
        finally:
            cell.stop()
        for other in data.iterdir():
            if other.name not in IMAGES:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        if not (data / "image" / "overlay2" / "imagedb").is_dir():
            raise SetupFailed("this machine's engine keeps its images in another way than overlay2")
        pack_ext4(data, folder / "engine.ext4", room=ROOM, interrupt=bench.interrupt)


def _load(plan: HostPlan, bench: Workbench, cell: Cell, data: Path) -> None:
    environment = {"PATH": SYSTEM_PATH, "HOME": "/root", "DOCKER_HOST": SOCKET}
    command: list[str | Path] = ["dockerd", "--config-file", "/etc/silvermetal-daemon.json", "--data-root", data]
    command += ["--host", SOCKET, "--storage-driver", "overlay2", "--bridge", "none", "--iptables=false"]
    command += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--shutdown-timeout", "1"]
    engine = cell.spawn("the engine", command, log=plan.log_dir / "engine-disk-dockerd.log", env=environment)

    def answers() -> bool:
        engine.require()
        return cell.run(["docker", "version"], timeout=20, env=environment, expected=(0, 1)).code == 0

    bench.interrupt.wait_until(answers, timeout=60, step=0.3, what="this machine's engine program does not answer")
    cell.run(["docker", "load", "--quiet", "--input", plan.builder_archive], timeout=600, env=environment)
    found = cell.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", plan.builder_image], timeout=60, env=environment
    )
    if found.out.strip() != plan.builder_image:
        raise SetupFailed(f"got the image {found.out.strip()}, expected {plan.builder_image}")
    # Its end writes what is not written yet.
    engine.stop(grace=20)
