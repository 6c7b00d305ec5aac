"""The service in containers, as docs/operations.md tells it: up, a tag, REPRODUCED, down.

- A real engine in a cell of its own, with its own bridge and its own firewall; every image is built from a Debian that
  mmdebstrap has just made, since no base can be pulled here. What leads this machine to its package sources is lent.
- The two workers share a kernel and an engine: the verdict is I1, and says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_demo.cell import Cell
from silvermetal_demo.command import Output
from silvermetal_demo.environment import plain_environment
from silvermetal_demo.repository import Repository

from tests.support.cells import networked_cell
from tests.support.lent import LENT_CERTIFICATES, fresh_root, pip_settings, told
from tests.support.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
TAG = "v0.1-compose"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces and mmdebstrap"),
    pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose (scripts/setup.sh test)"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap (scripts/setup.sh test)"),
]


class Rack:
    """One machine with an engine, and a person at its shell."""

    def __init__(self, folder: Path, cell: Cell, address: str) -> None:
        self.folder, self.cell, self.address = folder, cell, address
        self.root = folder / "root"
        home = folder / "home"
        home.mkdir()
        (folder / "tmp").mkdir()
        self.environment = plain_environment(Path(shutil.which("python3") or "/usr/bin").parent, home) | {
            "PATH": f"{ROOT}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TMPDIR": str(folder / "tmp"),
            "SILVERMETAL_ROOT": str(self.root),
            "COMPOSE_PROJECT_NAME": "silvermetal",
            "DOCKER_BUILDKIT": "0",
        }

    def sh(
        self, script: str, timeout: float = 120, expected: tuple[int, ...] = (0,), text: str | None = None
    ) -> Output:
        command = ["bash", "-c", script]
        return self.cell.run(
            command, timeout=timeout, cwd=ROOT, env=self.environment, expected=expected, input_text=text
        )

    def compose(self, arguments: str, timeout: float = 120, **more: object) -> Output:
        return self.sh(f"docker-compose -f docker/compose.yaml {arguments}", timeout, **more)  # type: ignore[arg-type]

    def start_engine(self) -> None:
        command: list[str | Path] = ["dockerd", "--config-file", self.folder / "daemon.json"]
        (self.folder / "daemon.json").write_text("{}\n")
        command += ["--data-root", self.folder / "engine", "--exec-opt", "native.cgroupdriver=cgroupfs"]
        command += ["--cgroup-parent", "/silvermetal-test-rack", "--shutdown-timeout", "5"]
        log = self.folder / "engine.log"
        engine = self.cell.spawn("engine", command, log=log, env=self.environment)

        def answers() -> bool:
            engine.require()
            return self.sh("docker version", 20, tuple(range(256))).code == 0

        wait_until(answers, "the engine", timeout=60)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    folder = tmp_path_factory.mktemp("compose")
    with networked_cell(folder / "outside", "rack", empty=("/run",)) as (cell, address):
        made = Rack(folder, cell, str(address))
        made.start_engine()
        yield made


def base_image(rack: Rack) -> str:
    """A plain Debian in the engine, as `docker pull` would give one; returns its id."""
    folder = rack.folder / "base"
    suite = told("sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME").strip()
    fresh_root(folder, suite, "--include=ca-certificates")
    (folder / "etc/apt/apt.conf.d/00lent").write_text(told("apt-config", "dump", "Acquire"))
    lent = pip_settings() | {"PIP_CERT": LENT_CERTIFICATES}
    lines = [f"{name.removeprefix('PIP_').lower().replace('_', '-')} = {value}" for name, value in lent.items()]
    (folder / "etc/pip.conf").write_text("[global]\n" + "\n".join(lines) + "\n")
    image = rack.sh(f"tar -C {folder} -c . | docker import - base", 300).out.strip()
    shutil.rmtree(folder)
    return image


def test_compose_up_a_tag_reproduced_down(rack: Rack) -> None:
    rack.environment["BASE_IMAGE"] = base_image(rack)
    store = Path(os.environ.get("SILVERMETAL_STATE") or Path.home() / ".cache" / "silvermetal")
    builder = rack.sh(f"SILVERMETAL_STATE={store} scripts/bootstrap-builder.sh --load", 900).out.strip()
    repository = Repository(rack.folder, rack.cell, rack.environment)
    repository.take(ROOT)
    repository.serve(rack.address, 9418, rack.folder / "git-daemon.log")

    made = rack.sh(f"docker/first-start {repository.url}", 1200)
    print(made.err[-3000:])
    if (store / "store").is_dir():
        # What an earlier build fetched: the packages are verified by their digests all the same.
        subprocess.run(["cp", "-alT", store / "store", rack.root / "store"], check=True, timeout=300)
    again = rack.sh(f"docker/first-start {repository.url}", 60, expected=(2,))
    assert "got an installation" in again.err

    rack.compose("up -d", 300)
    try:
        web = "http://127.0.0.1:8080"

        def connected() -> bool:
            answer = rack.sh(f"curl -sf {web}/api/v2/workers", 20, tuple(range(256)))
            if answer.code != 0:
                return False
            return {"host-a", "host-b"} <= {w["name"] for w in json.loads(answer.out)["workers"] if w["connected_to"]}

        wait_until(connected, "two workers by the proxy's door", timeout=180)
        repository.pin_and_tag(builder, TAG)
        notify = "silvermetal-master notify-push --url http://proxy:8080/change_hook/gitea"
        notify += f" --secret-file /etc/silvermetal/secrets/hook --repository-url {repository.url}"
        hook = f"cd {ROOT} && exec docker-compose -f docker/compose.yaml exec -T master {notify}"
        repository.tell(["sh", "-c", hook])
        print(repository.push(TAG))
        base = "/var/lib/silvermetal/base"
        said = rack.compose(
            f"exec -T master silvermetal-master wait {base} --ref refs/tags/{TAG}", 900, expected=(0, 1, 3)
        )
        print(said.out, said.err)
        assert said.code == 0, said.out + rack.compose("logs --tail=60").out
        assert "REPRODUCED" in said.out
        assert rack.sh(f"curl -s -o /dev/null -w '%{{http_code}}' {web}/metrics", 20).out == "403"
    finally:
        rack.compose("down --volumes", 300)
    assert rack.sh("docker ps --all --quiet").out.split() == []
