"""The smallest builder image there is, made alike on every engine: an empty layer with fixed dates.

Rules:

- Loaded as an archive that is written here byte for byte, so that its id is known before any engine has seen it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def empty_image() -> tuple[str, bytes]:
    """The image's id and the archive that `docker load` takes."""
    layer = _tar({"silvermetal": b"an empty builder image for tests\n"})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "1970-01-01T00:00:00Z"}],
        }
    ).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    return f"sha256:{digest}", _tar({f"{digest}.json": config, "layer.tar": layer, "manifest.json": manifest})
