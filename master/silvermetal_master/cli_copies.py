"""``silvermetal-master backup``, ``restore`` and ``clean``.

Rules:

- Exit code 5 of ``restore`` is for a ledger that would be rewound, so that a script cannot take it for another mistake.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from silvermetal_master.ends import ends_cleanly
from silvermetal_master.errors import SettingsError

EXIT_REWOUND = 5
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("basedir", type=_PATH)
@click.argument("target", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_cleanly
def backup(basedir: Path, target: Path, as_json: bool) -> None:
    """Back up the master in BASEDIR into the new folder TARGET; it may run meanwhile. TARGET holds every secret."""
    from silvermetal_master.backup import backup as take

    taken = take(basedir, target)
    if as_json:
        found = {"ok": True, "files": taken.files, "bytes": taken.size, "entries": taken.entries, "root": taken.root}
        click.echo(json.dumps(found, sort_keys=True, indent=2))
        return
    click.echo(f"{target}: {taken.files} files, {taken.size} bytes; the ledger has {taken.entries} entries")
    if taken.entries:
        click.echo(f"keep {target}/state/ledger/checkpoint on another machine, too: it shows a ledger that was rewound")


@click.command()
@click.argument("basedir", type=_PATH)
@click.option("--dry-run", is_flag=True, help="Remove nothing, say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_cleanly
def clean(basedir: Path, dry_run: bool, as_json: bool) -> None:
    """Remove derived files beyond [retention] from the records in BASEDIR, as the running master does each hour."""
    from silvermetal_master.run import STATE_FOLDER, config_of
    from silvermetal_master.services.retention import clean as remove
    from silvermetal_master.settings import load

    bounds = load(config_of(basedir), secrets_needed=False, judging=True).retention
    gone, problems = remove(
        basedir / STATE_FOLDER, days=bounds.derived_days, mebibytes=bounds.derived_mib, now=time.time(), dry=dry_run
    )
    if problems:
        raise SettingsError("; ".join(problems[:5]))
    if as_json:
        click.echo(json.dumps({"ok": True, "dry_run": dry_run, "removed": gone}, sort_keys=True, indent=2))
        return
    click.echo("".join(f"{path}\n" for path in gone) + f"{len(gone)} files {'would go' if dry_run else 'are gone'}")


@click.command()
@click.argument("backup_folder", metavar="BACKUP", type=_PATH)
@click.argument("basedir", type=_PATH)
@click.option("--config", type=_PATH, required=True, help="The folder of settings to make; must be new or empty.")
@click.option("--since", type=_PATH, default=None, help="The newest checkpoint that somebody kept elsewhere.")
@click.option("--rewound", metavar="REASON", default=None, help="Restore although entries of the ledger are lost.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_cleanly
def restore(
    backup_folder: Path, basedir: Path, config: Path, since: Path | None, rewound: str | None, as_json: bool
) -> None:
    """Make BASEDIR and the settings from BACKUP, which is checked first. Exit code 5: the ledger would be rewound."""
    from silvermetal_master.restore import RewoundError
    from silvermetal_master.restore import restore as put

    try:
        found = put(backup_folder, basedir, config.absolute(), since=since, rewound=rewound)
    except RewoundError as error:
        click.echo(f"silvermetal-master: {error}", err=True)
        sys.exit(EXIT_REWOUND)
    if as_json:
        click.echo(json.dumps({"ok": True, **found}, sort_keys=True, indent=2))
        return
    click.echo(f"{basedir}: the master of {found['taken']}, ledger with {found['ledger']['size']} entries")
    if found["lost"]:
        click.echo(f"REWOUND: {found['lost']}")
    elif since is None:
        click.echo("no checkpoint was given (--since): whether the ledger had more entries, nobody can tell from here")
