"""The service on a real PostgreSQL, named by one URL: a tag, a server that restarts, a master that dies, a backup."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from silvermetal_master.build_store import BuildStore
from silvermetal_master.database import with_password
from silvermetal_proof.verdict import Outcome

from tests.support.postgres import Postgres
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, missing_for_service

pytestmark = pytest.mark.system
MASTER = f"{BIN}/silvermetal-master"
SECRET = "database-password"


def use(config: Path, url: str, password: str) -> None:
    """Name the database in the settings, its password as a secret."""
    file = config / "master.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("database = ")]
    lines.insert(lines.index("[master]") + 1, f'database = "{url}"')
    file.write_text("\n".join(lines) + "\n")
    secret = config / "secrets" / SECRET
    secret.write_text(password + "\n")
    secret.chmod(0o600)


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]
) -> Iterator[tuple[Service, Postgres]]:
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Service(tmp_path_factory.mktemp("postgresql"), free_port(), free_port(), *tiny_engine)
    with Postgres() as server:
        running.write_settings(["host-a", "host-b"], deadline=120, build_timeout=90)
        use(running.config, server.url(), server.password)
        running.make_repository()
        try:
            running.start()
            yield running, server
        finally:
            running.stop()


def hold(running: Service, name: str) -> None:
    """Builds wait, from now on, for :func:`let_go`."""
    for worker in running.workers.values():
        worker.behave(f"before() {{ touch $store/{name}; until [ -f $store/{name}-go ]; do sleep 0.2; done; }}")


def wait_held(running: Service, name: str) -> None:
    wait_until(lambda: all((w.store / name).exists() for w in running.workers.values()), "both building", timeout=60)


def let_go(running: Service, name: str) -> None:
    for worker in running.workers.values():
        (worker.store / f"{name}-go").touch()


def count(server: Postgres, database: str, table: str) -> int:
    url = sa.make_url(server.url(database)).set(password=server.password)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
    engine.dispose()
    return found


def test_the_server_restarts_in_mid_build_and_nothing_is_lost(stored: tuple[Service, Postgres]) -> None:
    running, server = stored
    assert not (running.basedir / "state.sqlite").exists(), "it is on PostgreSQL alone"
    hold(running, "v1")
    running.push_tag("v1")
    wait_held(running, "v1")
    server.stop()
    let_go(running, "v1")
    server.start()
    verdict = running.verdict("v1", timeout=120)
    assert verdict.outcome is Outcome.REPRODUCED
    running.wait_idle()
    assert [b["results"] for b in running.builds_of("verify")] == [0]
    assert [b["results"] for host in ("host-a", "host-b") for b in running.builds_of(f"iso@{host}")] == [0, 0]
    found = json.loads(run([MASTER, "status", str(running.basedir), "--json"]))
    assert found["master"]["up"] and found["ledger"]["size"] == 1


def test_h7_a_killed_master_goes_on_and_a_backup_brings_it_back(
    stored: tuple[Service, Postgres], tmp_path: Path
) -> None:
    running, server = stored
    hold(running, "v2")
    running.push_tag("v2")
    wait_held(running, "v2")
    assert running.master is not None
    running.master.kill()
    down = json.loads(run(["sh", "-c", f"{MASTER} status {running.basedir} --json || test $? -eq 4"]))
    assert not down["master"]["up"] and {r["builder"] for r in down["running"]} >= {"verify", "iso@host-a"}
    running.start_master()
    let_go(running, "v2")
    running.wait_connected("host-a", "host-b")
    wait_until(
        lambda: running.builds_of("verify")[-1]["results"] == 0, "the verification asked for again to pass", timeout=120
    )
    running.wait_idle()
    assert running.verdict("v2").outcome is Outcome.REPRODUCED
    records = [BuildStore(running.state).record(p.name) for p in (running.state / "builds").iterdir()]
    mine = [r for r in records if r.request.ref == "refs/tags/v2"]
    assert sorted(str(r.verdict.outcome) for r in mine) == ["INCOMPLETE", "REPRODUCED"]

    kept = tmp_path / "backup"
    run([MASTER, "backup", str(running.basedir), str(kept)])
    settings = kept / "config" / "master.toml"
    assert (kept / "database.pgdump").stat().st_size > 10000
    assert server.password not in settings.read_text()
    refused = run(["sh", "-c", f"{MASTER} restore {kept} {tmp_path}/m --config {tmp_path}/c 2>&1 || test $? -eq 2"])
    assert "expected an empty one, got" in refused
    # Elsewhere: the same backup, its settings pointed to a new database.
    server.create("second")
    run(["sed", "-i", 's,/first\\",/second\\",', str(settings)])
    sums = run(
        ["sh", "-c", "find . -type f ! -name SHA256SUMS | sed s,^./,, | sort | xargs -d '\\n' sha256sum"], cwd=kept
    )
    (kept / "SHA256SUMS").write_text(sums)
    checkpoint = running.state / "ledger" / "checkpoint"
    argv = ["restore", str(kept), str(tmp_path / "m"), "--config", str(tmp_path / "c"), "--since", str(checkpoint)]
    assert "the master of 20" in run([MASTER, *argv])
    for table in ("builds", "buildrequests", "build_data"):
        assert count(server, "second", table) == count(server, "first", table) > 0
    shutil.rmtree(tmp_path / "m")


def test_the_password_is_a_secret_and_no_part_of_the_url(stored: tuple[Service, Postgres], tmp_path: Path) -> None:
    running, server = stored
    assert with_password(server.url(), running.config / "secrets" / SECRET).count(server.password) == 1
    assert server.password not in (running.folder / "master.log").read_text(errors="replace")
    for path in running.basedir.rglob("*"):
        if path.is_file():
            assert server.password.encode() not in path.read_bytes(), path
    copy = tmp_path / "config"
    shutil.copytree(running.config, copy)
    file = copy / "master.toml"
    file.write_text(file.read_text().replace("silvermetal@", "silvermetal:word@"))
    said = run(["sh", "-c", f"{MASTER} check {copy} 2>&1 || test $? -eq 2"])
    assert "master.database: expected no password in the URL, got one; move it to" in said
