"""A backup that is taken while a build runs brings the service back after the master was destroyed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_master.build_store import BuildStore
from silvermetal_proof.ledger import Ledger, read_checkpoint, root_hash
from silvermetal_proof.statement import PublicKey
from silvermetal_proof.verdict import Outcome, verify_verdict

from tests.fakes.gitea.server import TOKEN, Gitea
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, missing_for_service

pytestmark = pytest.mark.system
ORIGIN = "silvermetal/ledger"
MASTER = f"{BIN}/silvermetal-master"


@pytest.fixture(scope="module")
def publishing(
    tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]
) -> Iterator[tuple[Service, Gitea]]:
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Service(tmp_path_factory.mktemp("backup"), free_port(), free_port(), *tiny_engine)
    running.write_settings(["host-a", "host-b"])
    with Gitea() as gitea:
        table = f'[gitea]\nurl = "{gitea.url}"\nowner = "o"\nrepository = "r"\nreceive = "127.0.0.1:{free_port()}"\n'
        settings = running.config / "master.toml"
        settings.write_text(f"{settings.read_text()}\n{table}")
        token = running.config / "secrets" / "gitea-token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        running.make_repository()
        try:
            running.start()
            yield running, gitea
        finally:
            running.stop()


def refused(*argv: object) -> tuple[int, str]:
    done = subprocess.run(
        [MASTER, *map(str, argv)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0 and done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def published(gitea: Gitea, tag: str) -> bool:
    return any(r["tag_name"] == tag and r["draft"] is False for r in gitea.releases.values())


def test_a_destroyed_master_comes_back_from_its_backup(publishing: tuple[Service, Gitea]) -> None:
    running, gitea = publishing
    running.push_tag("v1")
    assert running.verdict("v1").outcome is Outcome.REPRODUCED
    wait_until(lambda: published(gitea, "v1"), "v1's release", timeout=60)
    running.wait_idle()

    # Taken in mid-build, while both hosts build v2.
    for worker in running.workers.values():
        worker.behave("before() { touch $store/waits; until [ -f $store/go ]; do sleep 0.2; done; }")
    running.push_tag("v2")
    wait_until(lambda: all((w.store / "waits").exists() for w in running.workers.values()), "both building", timeout=60)
    kept = running.folder / "backups" / "monday"
    said = json.loads(run([MASTER, "backup", str(running.basedir), str(kept), "--json"]))
    assert (said["ok"], said["entries"]) == (True, 1)
    assert running.builds_of("verify")[-1]["complete"] is False, "the backup did not wait for the build"
    assert kept.stat().st_mode & 0o777 == 0o700
    run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=kept)
    assert not list(kept.rglob("seal.key")) and not list(kept.rglob("*.iso"))
    assert "nothing is overwritten" in refused("backup", running.basedir, kept)[1]
    monday = running.folder / "monday.checkpoint"
    shutil.copyfile(kept / "state" / "ledger" / "checkpoint", monday)

    for worker in running.workers.values():
        (worker.store / "go").touch()
    assert running.verdict("v2").outcome is Outcome.REPRODUCED
    wait_until(lambda: published(gitea, "v2"), "v2's release", timeout=60)
    running.wait_idle()
    tuesday = running.folder / "tuesday.checkpoint"
    shutil.copyfile(running.state / "ledger" / "checkpoint", tuesday)

    # Destroyed.
    assert running.master is not None
    running.master.kill()
    key = PublicKey((running.config / "master.pub").read_text().strip())
    shutil.rmtree(running.basedir)
    shutil.rmtree(running.config)

    argv = ("restore", kept, running.basedir, "--config", running.config)
    code, why = refused(*argv, "--since", tuesday)
    assert code == 5 and "is rewound: expected the 2 entries" in why and "1 recorded verdicts would be lost" in why
    assert not running.basedir.exists() and not running.config.exists(), "a refusal leaves nothing behind"

    manifest = next(kept.rglob("verdict.dsse.json"))
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-1])
    assert "expected SHA-256" in refused(*argv)[1]
    manifest.write_bytes(whole)
    (kept / "state" / "more").write_text("x")
    assert "one that is not listed" in refused(*argv)[1]
    (kept / "state" / "more").unlink()

    told = run([MASTER, *map(str, argv), "--since", str(tuesday), "--rewound", "the disk died"])
    assert "REWOUND: " in told
    assert "nothing is overwritten" in refused(*argv)[1]
    note = json.loads((running.state / "restored.json").read_text())
    assert note["rewound"] == "the disk died" and "1 recorded verdicts" in note["lost"]

    # It goes on: v2 was running in the backup, and is asked for again; v3 is new.
    running.start_master()
    running.wait_connected("host-a", "host-b")
    wait_until(lambda: running.verdict("v2", 1).outcome is Outcome.REPRODUCED if noted(running, "v2") else False,
               "v2 to be asked for again", timeout=120)  # fmt: skip
    running.wait_idle()
    running.push_tag("v3")
    assert running.verdict("v3").outcome is Outcome.REPRODUCED
    wait_until(lambda: published(gitea, "v3"), "v3's release", timeout=60)
    assert gitea.wrong == []

    book = Ledger(running.state / "ledger", ORIGIN, key)
    leaves = book.check()
    old = read_checkpoint(monday.read_bytes(), ORIGIN, key)
    assert root_hash(leaves[: old.size]) == old.root, "the consistency from before holds"
    base = ["ledger", "check", str(running.state / "ledger"), "--origin", ORIGIN, "--key", key.hex, "--since"]
    run([f"{BIN}/silvermetal", *base, str(monday)])
    lost = subprocess.run(
        [f"{BIN}/silvermetal", *base, str(tuesday)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert lost.returncode != 0 and "rewound or forked" in lost.stderr, "whoever keeps a checkpoint sees it"
    seen = [verify_verdict(book.entry(i), key).verdict for i in range(len(leaves))]
    assert [(v.ref, str(v.outcome)) for v in seen] == [
        ("refs/tags/v1", "REPRODUCED"),
        ("refs/tags/v2", "INCOMPLETE"),
        ("refs/tags/v2", "REPRODUCED"),
        ("refs/tags/v3", "REPRODUCED"),
    ]
    assert len(list((running.state / "builds").glob("*/verdict.json"))) == len(leaves)


def noted(running: Service, tag: str) -> bool:
    return "build" in (BuildStore(running.state).newest(f"refs/tags/{tag}") or {})


def test_a_backup_of_no_master_says_so(tmp_path: Path) -> None:
    assert "expected a master's folder, got none" in refused("backup", tmp_path, tmp_path / "x")[1]
    assert (
        "expected a backup with SHA256SUMS"
        in refused("restore", tmp_path, tmp_path / "m", "--config", tmp_path / "c")[1]
    )
