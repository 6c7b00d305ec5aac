"""What a guest is handed by disks: the worker's programs, what it alone is given, and packages to start from.

- The programs are the same for all guests and stay on the shelf; they are installed by pip from this checkout, at the
  versions of constraints.txt, for the Python of the guests' root.
- What a guest alone is given (its worker directory with key and password, names, addresses) is a tar archive of mode
  0600 in the run's folder, removed when the guest ends.
- The machine's own way to Debian's archives (apt's sources, keys, credentials; certificates) goes along, so that a
  guest can fetch what its store lacks.
"""

from __future__ import annotations

import configparser
import io
import os
import re
import shutil
import tarfile
import tempfile
import uuid
from pathlib import Path

from silvermetal_demo.command import run
from silvermetal_demo.environment import PASSED, SYSTEM_PATH
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, Workbench
from silvermetal_demo.vm_shelf import Shelf, digest_of_files, key_of, pack_ext4
from silvermetal_demo.vm_system import System, resolve

STORE = "/var/lib/silvermetal/store"
WORKER = "/var/lib/silvermetal/worker"
VENV = "/opt/silvermetal/venv"
RECIPE = Path("config/minimal-live.conf")
# What says how the programs are installed.
ABOUT = ("setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")
# How this machine reaches the archives.
FROM_MACHINE = ("etc/apt", "etc/ssl/certs/ca-certificates.crt", "usr/share/keyrings")


def provide_programs(plan: HostPlan, bench: Workbench, shelf: Shelf, system: System) -> Path:
    """An ext4 image of /opt/silvermetal."""
    python = plan.venv / "bin/python"
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    ours = run([python, "-c", version], timeout=30).out.strip()
    if ours != system.python:
        raise SetupFailed(
            f"got Python {ours} in {plan.venv}, expected {system.python} as in the guests' Debian; make it anew: "
            f"rm -r {plan.venv}; SILVERMETAL_PYTHON=/usr/bin/python3 scripts/setup.sh vm"
        )
    about = [plan.checkout / name for name in ABOUT if (plan.checkout / name).exists()]
    files = [path for name in _rooms(plan.checkout) for path in (plan.checkout / name).rglob("*") if _counts(path)]
    relative = b"".join(f"{path.relative_to(plan.checkout)}\n".encode() for path in sorted(files + about))
    contents = key_of(*(path.read_bytes() for path in sorted(files + about)))
    key = key_of(relative, contents, ours, Path(__file__).read_bytes())

    def make(folder: Path) -> None:
        bench.progress.say("installing the worker for the guests ...")
        with tempfile.TemporaryDirectory(dir=folder) as work:
            source, tree = Path(work) / "source", Path(work) / "tree"
            # pip builds where the sources lie, and would leave its traces in the checkout.
            for path in files + about:
                target = source / path.relative_to(plan.checkout)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            venv = tree / "venv"
            (venv / "bin").mkdir(parents=True)
            _install(plan, bench, python, source, venv)
            _as_venv(venv)
            pack_ext4(tree, folder / "programs.ext4", room=0, interrupt=bench.interrupt)

    return shelf.provide("programs", key, make) / "programs.ext4"


def _rooms(checkout: Path) -> list[str]:
    """The folders that setup.cfg takes packages and scripts from."""
    setup = configparser.ConfigParser()
    setup.read(checkout / "setup.cfg", encoding="utf-8")
    paths = [line.rpartition("=")[2].strip() for line in setup["options"]["package_dir"].split("\n") if line]
    return sorted({Path(path).parts[0] for path in paths})


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)


def _install(plan: HostPlan, bench: Workbench, python: Path, source: Path, venv: Path) -> None:
    constraints = plan.checkout / "constraints.txt"
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name in PASSED}
    environment |= {"PATH": SYSTEM_PATH, "HOME": os.environ.get("HOME", "/root"), "LC_ALL": "C.UTF-8"}
    # Constraints for the build environment too: by the first variable for pip before 25.3, by the second since.
    environment |= {"PIP_CONSTRAINT": str(constraints), "PIP_BUILD_CONSTRAINT": str(constraints)}
    command = [python, "-m", "pip", "install", "--quiet", "--no-input", "--prefer-binary", "--ignore-installed"]
    command += ["--no-warn-script-location", "--disable-pip-version-check", "--root-user-action=ignore"]
    command += ["--prefix", venv, f"{source}[worker,explain]"]
    run(command, timeout=900, env=environment, interrupt=bench.interrupt)


def _as_venv(venv: Path) -> None:
    """What `python -m venv` would have made, had it run in the guest: paths are the guest's."""
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name in ("python", "python3"):
        (venv / "bin" / name).symlink_to("/usr/bin/python3")
    for program in (venv / "bin").iterdir():
        if program.is_symlink():
            continue
        first, _, rest = program.read_bytes().partition(b"\n")
        if first.startswith(b"#!") and b"python" in first:
            program.write_bytes(f"#!{VENV}/bin/python\n".encode() + rest)


def provide_packages(plan: HostPlan, bench: Workbench, shelf: Shelf) -> Path | None:
    """An ext4 image of a package store with what the recipe needs today; what it lacks a guest fetches by itself."""
    recipe = plan.checkout / RECIPE
    found = re.search(r'(?m)^PACKAGES="([^"]+)"$', recipe.read_text()) if recipe.exists() else None
    if found is None:
        return None
    lock = resolve(plan, bench, found[1].split())
    digests = sorted(set(lock.digests()))

    def make(folder: Path) -> None:
        tree = folder / "tree"
        (tree / "sha256").mkdir(parents=True)
        for digest in digests:
            shutil.copy(plan.store / "sha256" / digest, tree / "sha256" / digest)
        pack_ext4(tree, folder / "packages.ext4", room=0, interrupt=bench.interrupt)
        shutil.rmtree(tree)

    return shelf.provide("packages", key_of(*digests, digest_of_files([Path(__file__)])), make) / "packages.ext4"


def write_own_files(plan: HostPlan, target: Path) -> str:
    """The tar archive that becomes the guest's own files. Returns the guest's new machine-id."""
    machine_id = uuid.uuid4().hex
    etc = {
        "machine-id": f"{machine_id}\n",
        "hostname": f"{plan.name}\n",
        "hosts": f"127.0.0.1 localhost\n{plan.address.ip} {plan.name}\n",
        "resolv.conf": "".join(f"nameserver {server}\n" for server in plan.nameservers),
        "silvermetal/guest.env": f"NAME={plan.name}\nADDRESS={plan.address}\nGATEWAY={plan.gateway}\nMTU={plan.mtu}\n"
        f"IMAGE={plan.builder_image}\n",
    }
    with target.open("xb") as stream:
        target.chmod(0o600)
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name in FROM_MACHINE:
                if (Path("/") / name).exists():
                    archive.add(Path("/") / name, arcname=name, filter=_plain)
            for name, text in etc.items():
                entry = tarfile.TarInfo(f"etc/{name}")
                entry.size, entry.mode = len(text.encode()), 0o644
                archive.addfile(entry, io.BytesIO(text.encode()))
            archive.add(plan.worker_dir, arcname=WORKER.lstrip("/"), filter=_plain)
    return machine_id


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Owned by root in the guest; a socket or a device has no business there."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry if entry.isfile() or entry.isdir() or entry.issym() else None
