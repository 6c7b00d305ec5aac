"""Who may do what with a real master: accounts of Gitea, planted secrets that are found nowhere, and what retention leaves."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from silvermetal_proof.verdict import Outcome

from tests.fakes.gitea.server import Gitea
from tests.support.browser import Browser
from tests.support.processes import free_port, run, wait_until
from tests.support.service import BIN, Service, missing_for_service

pytestmark = pytest.mark.system
MASTER = f"{BIN}/silvermetal-master"
PLANTED = "planted-6b1f0c"
"""Is in every planted secret, so that a part of one is found as well."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tiny_engine: tuple[str, str]) -> Iterator[tuple[Service, Gitea]]:
    lacking = missing_for_service()
    if lacking is not None:
        pytest.skip(f"this machine lacks {lacking}")
    running = Service(tmp_path_factory.mktemp("access"), free_port(), free_port(), *tiny_engine)
    running.write_settings(["host-a", "host-b"])
    with Gitea(token=f"{PLANTED}-gitea-token") as gitea:
        gitea.accounts.client_secret = f"{PLANTED}-gitea-login"
        gitea.accounts.redirect_uri = f"http://127.0.0.1:{running.web}/auth/login"
        table = f'[gitea]\nurl = "{gitea.url}"\nowner = "o"\nrepository = "r"\nreceive = "127.0.0.1:{free_port()}"\n'
        table += f'[access]\nurl = "{gitea.url}"\nclient_id = "the-client"\noperators = ["olga"]\n'
        settings = running.config / "master.toml"
        settings.write_text(f"{settings.read_text()}\n{table}")
        plant(running)
        running.make_repository()
        try:
            running.start()
            yield running, gitea
        finally:
            running.stop()


def plant(running: Service) -> None:
    """A unique word at every secret that is free to choose; both sides of a worker's password."""
    words = {"gitea-token": "", "gitea-login": "", "hook": "", "worker-host-a": "", "worker-host-b": ""}
    for name in words:
        file = running.config / "secrets" / name
        file.write_text(f"{PLANTED}-{name}")
        file.chmod(0o600)
        if name.startswith("worker-"):
            (running.workers[name.removeprefix("worker-")].directory / "password").write_text(f"{PLANTED}-{name}\n")


def words_of(running: Service, gitea: Gitea) -> dict[str, bytes]:
    """What must be found nowhere: the planted words, keys, and every code and token that was issued."""
    found = {"planted": PLANTED.encode(), "planted, base64": base64.b64encode(PLANTED.encode())[:-2]}
    found["planted, hex"] = PLANTED.encode().hex().encode()
    keys = [*(running.config / "secrets").glob("*.pem")]
    for worker in running.workers.values():
        keys += [worker.directory / "keys" / "signing.pem", worker.directory / "keys" / "tls.key"]
    for key in keys:
        found[str(key)] = key.read_bytes().splitlines()[1]
    found |= {f"token {n}": token.encode() for n, token in enumerate(gitea.accounts.issued) if len(token) > 32}
    assert all(len(word) > 10 for word in found.values()) and len(found) > 8
    return found


def descendants(pid: int) -> set[int]:
    """A process and all below it."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, timeout=30, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in table.splitlines())}
    found = {pid}
    while more := {c for c, p in parents.items() if p in found and c not in found}:
        found |= more
    return found


def processes(running: Service) -> dict[str, bytes]:
    """Arguments and environment of the master, the workers and whatever they run now."""
    found = {}
    programs = [running.master, *(w.program for w in running.workers.values())]
    for program in programs:
        assert program is not None
        for pid in descendants(program.process.pid):
            for name in ("environ", "cmdline"):
                try:
                    found[f"{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
                except (FileNotFoundError, ProcessLookupError):
                    continue
    return found


def pages(running: Service) -> dict[str, bytes]:
    """What the web tells anybody: every build's properties, steps, logs, and the pages of our own."""
    base = f"http://127.0.0.1:{running.web}/"
    paths = ["", "config", "metrics", "health", "api/v2/workers", "api/v2/builders", "api/v2/changes", "api/v2/masters"]
    paths += ["api/v2/buildsets", "api/v2/buildrequests", "api/v2/schedulers", "api/v2/forceschedulers"]
    for build in running.api("builds")["builds"]:
        number = build["buildid"]
        paths += [
            f"api/v2/builds/{number}?property=*",
            f"api/v2/builds/{number}/properties",
            f"api/v2/builds/{number}/data",
        ]
        for step in running.api(f"builds/{number}/steps")["steps"]:
            paths.append(f"api/v2/steps/{step['stepid']}")
            for log in running.api(f"steps/{step['stepid']}/logs")["logs"]:
                paths.append(f"api/v2/logs/{log['logid']}/raw")
    found = {}
    for path in paths:
        with urllib.request.urlopen(base + path, timeout=30) as answer:
            found[path] = answer.read()
    return found


def files(running: Service) -> dict[str, bytes]:
    """Database, records and logs of the master; what the workers wrote, but for where their secrets live."""
    found = {}
    own = {w.directory / "password" for w in running.workers.values()}
    folders = [
        running.basedir,
        *(w.directory for w in running.workers.values()),
        *(w.store for w in running.workers.values()),
    ]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path not in own and path.parent.name != "keys":
                found[str(path)] = path.read_bytes()
    for path in running.folder.glob("*.log"):
        found[str(path)] = path.read_bytes()
    assert any(name.endswith("state.sqlite") for name in found) and any(name.endswith("worker.log") for name in found)
    return found


def assert_nowhere(words: dict[str, bytes], places: dict[str, bytes]) -> None:
    assert len(places) > 5
    hits = [f"{what} in {where}" for where, text in places.items() for what, word in words.items() if word in text]
    assert hits == []


def login(running: Service, gitea: Gitea, name: str) -> Browser:
    """A browser that went to Gitea and came back."""
    gitea.accounts.logged_in = name
    browser = Browser(running)
    with browser.open(f"{browser.base}/auth/login", timeout=30) as answer:
        assert answer.status == 200 and answer.url == f"{browser.base}/"
    return browser


def test_planted_secrets_are_found_nowhere(guarded: tuple[Service, Gitea]) -> None:
    running, gitea = guarded
    for worker in running.workers.values():
        worker.behave("before() { touch $store/in-it; until [ -f $store/go ]; do sleep 0.2; done; }")
    running.push_tag("v1")
    wait_until(lambda: all((w.store / "in-it").exists() for w in running.workers.values()), "both building", timeout=60)
    seen = processes(running)
    assert sum(name.endswith("environ") for name in seen) >= 5, "the builds' own processes are among them"
    for worker in running.workers.values():
        (worker.store / "go").touch()
    assert running.verdict("v1").outcome is Outcome.REPRODUCED
    wait_until(lambda: [r for r in gitea.releases.values() if not r["draft"]], "the release", timeout=60)
    running.wait_idle()
    # Failing ends: different bytes, and a build that cannot be pinned.
    for worker in running.workers.values():
        worker.behave("")
    running.workers["host-b"].behave('before() { echo other >> "$work/tree/payload"; }')
    running.push_tag("v2")
    assert running.verdict("v2").outcome is Outcome.DIVERGED
    running.wait_idle()
    (running.tree / "config" / "builder-image.env").write_text("BUILDER_IMAGE=latest\n")
    running.git("commit", "--quiet", "-am", "a tag is no pin")
    running.push_tag("v3")
    wait_until(lambda: len([b for b in running.builds_of("verify") if b["complete"]]) == 3, "v3's end", timeout=60)
    assert login(running, gitea, "olga") is not None
    words = words_of(running, gitea)
    # The search itself finds what is there.
    kept = {str(p): p.read_bytes() for p in (running.config / "secrets").iterdir()}
    with pytest.raises(AssertionError, match="planted in "):
        assert_nowhere(words, kept)
    assert any(b"SILVERMETAL_WORKER_DIR=" in text for name, text in seen.items() if name.endswith("environ"))
    assert_nowhere(words, seen | processes(running))
    assert_nowhere(words, pages(running))
    assert_nowhere(words, files(running))
    assert gitea.wrong == []


def test_anybody_reads_and_only_an_operator_controls(guarded: tuple[Service, Gitea]) -> None:
    running, gitea = guarded
    commit = running.git("rev-parse", "HEAD")
    before = len(running.builds_of("verify"))
    stranger = login(running, gitea, "stranger")
    wanted = {"branch": "refs/heads/main", "revision": commit}
    for browser in (Browser(running), stranger):
        assert browser.force(**wanted) == 403
        for path, method in (
            ("builds/1", "rebuild"),
            ("builds/1", "stop"),
            ("workers/1", "pause"),
            ("buildrequests/1", "cancel"),
        ):
            assert browser.control(path, method) == 403
        with browser.open(f"{browser.base}/api/v2/builds/1", timeout=15) as answer:
            assert json.load(answer)["builds"][0]["number"] == 1
    assert len(running.builds_of("verify")) == before
    assert login(running, gitea, "Olga").force(**wanted) == 200, "Gitea's names have no case"
    wait_until(lambda: len(running.builds_of("verify")) == before + 1, "the operator's build", timeout=30)
    running.wait_idle()


def test_a_login_that_this_browser_did_not_begin_is_refused(guarded: tuple[Service, Gitea]) -> None:
    running, gitea = guarded
    base = f"http://127.0.0.1:{running.web}"

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    def ask(url: str, jar: CookieJar) -> tuple[int, str]:
        opener = urllib.request.build_opener(Stay, urllib.request.HTTPCookieProcessor(jar))
        try:
            with opener.open(url, timeout=15) as answer:
                return answer.status, answer.headers.get("Location", "")
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Location", "")

    gitea.accounts.logged_in = "olga"
    mine, victims = CookieJar(), CookieJar()
    status, to_gitea = ask(f"{base}/auth/login?redirect=https://evil.example/", mine)
    assert status == 302 and to_gitea.startswith(f"{gitea.url}/login/oauth/authorize?") and "evil" not in to_gitea
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(to_gitea).query)
    assert asked["code_challenge_method"] == ["S256"] and PLANTED not in to_gitea
    cookie = next(iter(mine))
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "Lax"
    _, back = ask(to_gitea, CookieJar())
    assert back.startswith(f"{base}/auth/login?code=")
    assert ask(back, victims)[0] == 403, "another browser: login CSRF"
    assert ask(back.replace("state=", "state=x"), mine)[0] == 403
    assert ask(back.replace("code=", "code=x"), mine)[0] == 403, "a code that Gitea did not give"
    assert ask(back, mine)[0] == 403, "a state counts once"
    status, to_gitea = ask(f"{base}/auth/login", mine)
    _, back = ask(to_gitea, CookieJar())
    assert ask(back, mine) == (302, f"{base}/"), "and to its own first page alone"


def test_retention_leaves_every_proof_of_a_real_store(guarded: tuple[Service, Gitea]) -> None:
    running, _ = guarded
    settings = running.config / "master.toml"
    settings.write_text(f"{settings.read_text()}\n[retention]\nderived_days = 30\n")

    def there() -> dict[str, bytes]:
        return {str(p.relative_to(running.state)): p.read_bytes() for p in running.state.rglob("*") if p.is_file()}

    before = there()
    derived = {n for n in before if n.endswith((".iso", ".json.gz")) or "/difference." in n}
    assert {Path(n).name.split(".")[0] for n in derived} >= {"difference", "host-a", "host-b"}
    assert any(n.endswith(".iso") for n in derived)
    clean = [MASTER, "clean", str(running.basedir), "--json"]
    assert json.loads(run(clean))["removed"] == [], "nothing is old"
    long_ago = time.time() - 31 * 86400
    for path in running.state.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    assert set(json.loads(run([*clean, "--dry-run"]))["removed"]) == derived
    assert set(there()) >= derived
    assert set(json.loads(run(clean))["removed"]) == derived
    after = there()
    changing = {"seen.json"}
    assert set(before) - set(after) - changing == derived
    assert all(after[n] == before[n] for n in after.keys() & before.keys() if n not in changing)
    key = (running.config / "master.pub").read_text().strip()
    ledger = [f"{BIN}/silvermetal", "ledger", "check", str(running.state / "ledger"), "--origin", "silvermetal/ledger"]
    run([*ledger, "--key", key])
    assert running.verdict("v2").outcome is Outcome.DIVERGED
