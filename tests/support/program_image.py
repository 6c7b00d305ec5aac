"""A small builder image out of this machine's own programs: what they link to, a passwd, and Debian's name of a release.

Rules:

- Nothing is fetched: programs and libraries are those of the machine that runs the test, under the paths they have there.
- Fixed dates and owners, so that the same programs make the same image; it is loaded as an archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDERS = (
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
    "etc",
    "tmp",
    "root",
    "proc",
    "sys",
    "dev",
    "run",
    "var",
    "home",
)
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def _libraries(program: Path) -> set[Path]:
    done = subprocess.run(["ldd", str(program)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return {Path(found) for found in re.findall(r"(/\S+\.so\S*) \(0x", done.stdout)}


def _below_usr(path: Path) -> str:
    """The path in the image, where /bin and its like are links."""
    text = str(path).lstrip("/")
    return text if text.startswith("usr/") else f"usr/{text}" if text.split("/")[0] in LINKS else text


def _layer(programs: Iterable[str], texts: Mapping[str, tuple[str, int]]) -> bytes:
    files: dict[str, tuple[bytes, int]] = {name: (text.encode(), mode) for name, (text, mode) in texts.items()}
    for name in programs:
        found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        assert found is not None, f"the test's image needs {name}"
        for path in (Path(found), *_libraries(Path(found))):
            files.setdefault(_below_usr(path), (path.read_bytes(), 0o755))
    for library in Path("/usr/lib").glob("*-linux-gnu/libgcc_s.so.1"):  # opened when a thread ends, linked by nobody
        files.setdefault(_below_usr(library), (library.read_bytes(), 0o755))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
        for folder in sorted(folders | set(FOLDERS)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(info)
        for name, target in LINKS.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for name, (data, mode) in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def program_image(programs: Iterable[str], texts: Mapping[str, tuple[str, int]]) -> tuple[str, bytes]:
    """The image's id and the archive that `docker load` takes. ``texts`` are files: path to content and mode."""
    layer = _layer(programs, texts)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "1970-01-01T00:00:00Z"}],
        }
    ).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in ((f"{digest}.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return f"sha256:{digest}", buffer.getvalue()
