"""Making the master's folder and running the master in it.

Rules:

- The folder holds Buildbot's database and the records of builds; settings are elsewhere and are never written to.
- Database upgrades are made by Buildbot's own command, on a master that does not run.
- Before the start: one master a folder, a whole database, and no verdict left unrecorded (``recovery``).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import NoReturn

from silvermetal_proof.ledger.store import write_durably

from silvermetal_master.database import check_database
from silvermetal_master.errors import SettingsError
from silvermetal_master.history import revision
from silvermetal_master.recovery import hold_alone, recover, refuse_rewound
from silvermetal_master.settings import load

CONFIG_VARIABLE = "SILVERMETAL_CONFIG"
STATE_FOLDER = "silvermetal"
_CONFIG_NOTE = "config-folder"
UPGRADE_TIMEOUT = 600
JSON_LOG = "silvermetal_master.monitoring.json_log.to_standard_output"


def init(basedir: Path, config: Path) -> None:
    """Make ``basedir`` for the settings in ``config``. :raises SettingsError: when either is not usable."""
    load(config)
    if (basedir / "buildbot.tac").exists():
        raise SettingsError(f"{basedir}: expected a new folder, got a master's folder")
    basedir.mkdir(parents=True, exist_ok=True)
    write_base(basedir, config)
    upgrade(basedir)


def write_base(basedir: Path, config: Path) -> None:
    """Write what makes ``basedir`` a master's folder for the settings in ``config``."""
    (basedir / _CONFIG_NOTE).write_text(f"{config.resolve()}\n", encoding="utf-8")
    tac = resources.files("silvermetal_master").joinpath("templates/buildbot.tac").read_bytes()
    write_durably(basedir / "buildbot.tac", tac, replace=True)


def config_of(basedir: Path) -> Path:
    """The folder of settings that ``init`` noted. :raises SettingsError: when there is none."""
    try:
        return Path((basedir / _CONFIG_NOTE).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        raise SettingsError(
            f"{basedir}: expected a master's folder, got none; `silvermetal-master init` makes one"
        ) from None


def _environment(basedir: Path) -> dict[str, str]:
    return {**os.environ, CONFIG_VARIABLE: str(config_of(basedir))}


def upgrade(basedir: Path) -> None:
    """Bring the database to this version. :raises SettingsError: when Buildbot cannot."""
    buildbot = Path(sys.executable).with_name("buildbot")
    done = subprocess.run(
        [str(buildbot), "upgrade-master", "--quiet", str(basedir)],
        env=_environment(basedir),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=UPGRADE_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()[-1500:]
        raise SettingsError(f"upgrade of {basedir}: expected exit code 0, got {done.returncode}: {said}")


def upgrade_stopped(basedir: Path) -> tuple[str, str]:
    """Bring the folder of a master that does not run to this version; return the database's revision before and after.

    :raises SettingsError: when a master runs in it, its database is not whole, or Buildbot cannot.
    """
    settings = load(config_of(basedir), judging=True)
    hold_alone(basedir)
    url = settings.database
    check_database(basedir, url)
    before = revision(basedir, url)
    write_base(basedir, config_of(basedir))
    upgrade(basedir)
    return before, revision(basedir, url)


def run(basedir: Path) -> NoReturn:
    """Become the master's process, in the foreground. SIGTERM stops it."""
    env = _environment(basedir)
    settings = load(config_of(basedir), judging=True)
    hold_alone(basedir)
    check_database(basedir, settings.database)
    refuse_rewound(basedir.resolve() / STATE_FOLDER, settings)
    for sentence in recover(basedir.resolve() / STATE_FOLDER, settings):
        print(f"silvermetal-master: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the service's own log
    # Buildbot cannot end a build whose database it cannot open: no soft limit may come before the hard one.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    twistd = Path(sys.executable).with_name("twistd")
    os.chdir(basedir)
    # The project's own tools (silvermetal, silvermetal-resolve-lock) stand beside the interpreter.
    env["PATH"] = f"{twistd.parent}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    argv = [str(twistd), "--nodaemon", "--pidfile=", "--no_save", "--python=buildbot.tac"]
    if settings.master.logs == "json":
        argv.append(f"--logger={JSON_LOG}")
    os.execve(twistd, argv, env)  # noqa: S606 - the master's process replaces this one, so that signals reach it
