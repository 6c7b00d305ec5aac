"""A build that is ended leaves nothing: no container, no half an output; an engine that sees other folders is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.engine import private_engine
from tests.support.live import Workshop

pytestmark = pytest.mark.e2e


@contextmanager
def building(workshop: Workshop, checkout: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    options = ("--lock", workshop.lock, "--store", workshop.store, "--output", checkout.parent / "output")
    process = subprocess.Popen(
        [str(word) for word in (checkout / "scripts/build.sh", *options)],
        env={**workshop.engine.environment, "BUILDER_IMAGE": workshop.image, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def leftovers(workshop: Workshop, checkout: Path) -> list[str]:
    names = workshop.engine.docker(
        "ps", "--all", "--filter", "label=silvermetal.build", "--format", "{{.ID}} {{.Mounts}}"
    )
    containers = [line for line in names.stdout.splitlines() if str(checkout.parent) in line]
    return containers + [path.name for path in checkout.parent.iterdir() if path != checkout]


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("moment", [0.4, 4.0])
def test_a_signal(workshop: Workshop, reference: object, sign: int, code: int, moment: float) -> None:
    checkout = workshop.checkout(f"signal-{sign}-{moment}")
    with building(workshop, checkout) as process:
        time.sleep(moment)
        os.killpg(process.pid, sign)  # as a terminal does: to all of them
        assert process.wait(30) == code
    assert leftovers(workshop, checkout) == []


def test_the_time_is_up(workshop: Workshop, reference: object) -> None:
    checkout = workshop.checkout("timeout")
    with building(workshop, checkout, SILVERMETAL_BUILD_TIMEOUT="2") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 124
    assert "did not end within 2 seconds" in said
    assert leftovers(workshop, checkout) == []


def test_a_build_that_fails_leaves_the_output_before_it(workshop: Workshop, reference: object, tmp_path: Path) -> None:
    checkout = workshop.checkout("fails")
    output = checkout.parent / "output"
    output.mkdir()
    (output / "before").write_text("kept")
    (checkout / "scripts/recipes/minimal-live/image").write_text("#!/bin/sh\nexit 1\n")
    answer = workshop.run(checkout)
    assert answer.returncode == 3
    assert "the build failed with exit code 1" in answer.stdout
    assert "the checkout differs from commit" in answer.stdout
    assert (output / "before").read_text() == "kept"
    assert leftovers(workshop, checkout) == ["output"]


@pytest.mark.parametrize("there", [False, True], ids=["missing", "another"])
def test_an_engine_that_sees_other_folders(workshop: Workshop, tmp_path: Path, there: bool) -> None:
    """Docker-out-of-docker: the daemon resolves the mounts' sources, and what it finds there is not ours."""
    archive = tmp_path / "builder.tar"
    subprocess.run(
        (workshop.origin / "scripts/bootstrap-builder.sh", "--archive", archive), check=True, capture_output=True
    )
    checkout = workshop.checkout(f"elsewhere-{there}")
    # In the engine's own mount namespace our folder is another one; where it is to be there, it is made as we look.
    with private_engine(before=f"mount -t tmpfs elsewhere '{checkout.parent}'") as other:
        assert other.docker("load", "--input", str(archive)).returncode == 0
        environment = {}
        if there:
            environment = _folders_made_by_the_engine(tmp_path, other.url)
        answer = workshop.run(checkout, engine=other, environment=environment)
        assert answer.returncode == 5, answer.stdout[-2000:]
        assert "sentinel" in answer.stdout if there else "bind source path does not exist" in answer.stdout
        assert other.containers() == []
    assert leftovers(workshop, checkout) == []


def _folders_made_by_the_engine(folder: Path, url: str) -> dict[str, str]:
    """A `docker` that makes the sources as --volume would do: empty, on the engine's side."""
    shim = folder / "bin/docker"
    shim.parent.mkdir()
    pid = subprocess.check_output(("pgrep", "--full", f"dockerd.*--host {url}"), text=True).split()[0]
    shim.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = create ]; then for word; do case $word in type=bind*)\n'
        '    source=${word#*source=}; source=${source%%\\"*}\n'
        f'    nsenter --target {pid} --mount mkdir -p "$source";; esac; done; fi\n'
        'exec /usr/bin/docker "$@"\n'
    )
    shim.chmod(0o755)
    return {"PATH": f"{shim.parent}:{os.environ['PATH']}"}
