"""``silvermetal-master``: the commands of the master.

Rules:

- How each ends is in :mod:`silvermetal_master.ends`; what is imported is what the command needs.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from silvermetal_master.cli_copies import backup, clean, restore
from silvermetal_master.ends import EXIT_NO_ANSWER, EXIT_NO_VERDICT, EXIT_OTHER_VERDICT, ends_cleanly
from silvermetal_master.errors import SettingsError

_PATH = click.Path(path_type=Path)


@click.group()
def main() -> None:
    """The master of SilverMetal's build master."""


@main.command()
@click.argument("folder", type=_PATH)
@click.option("--repository", required=True, help="What is built; every host clones it from here.")
@click.option("--recipe", default="minimal-live", show_default=True)
@click.option("--url", default="http://127.0.0.1:8010/", show_default=True, help="Where people find the web pages.")
@click.option("--web", default="tcp:8010:interface=127.0.0.1", show_default=True, help="Twisted endpoint of the web.")
@click.option("--workers", default="tls:9989:interface=127.0.0.1", show_default=True, help="Endpoint for workers.")
@click.option("--database", default="sqlite:///state.sqlite", show_default=True, help="Its password is a secret file.")
@click.option("--origin", default="silvermetal/ledger", show_default=True, help="The ledger's name.")
@click.option("--quorum", default=2, show_default=True)
@click.option("--min-independence", default=2, show_default=True)
@click.option("--deadline", default=14400, show_default=True, help="Seconds for all hosts.")
@click.option("--build-timeout", default=10800, show_default=True, help="Seconds for one build.")
@ends_cleanly
def site(folder: Path, **values: Any) -> None:
    """Write the settings of a new installation into FOLDER, with new keys and secrets."""
    from silvermetal_master.site import write_site

    write_site(folder, **values)
    click.echo(f"settings written to {folder}; enrol hosts with `silvermetal-master enroll {folder} HOST …`")


@main.command()
@click.argument("folder", type=_PATH)
@click.argument("host")
@click.option("--worker", default=None, help="The worker's name; default: the host's.")
@click.option("--public-key", required=True, help="What `silvermetal-worker init` printed.")
@click.option("--operator", required=True)
@click.option("--site", "site_name", required=True)
@click.option("--csr", type=_PATH, default=None, help="keys/tls.csr of the worker; needed where workers use TLS.")
@ends_cleanly
def enroll(
    folder: Path, host: str, worker: str | None, public_key: str, operator: str, site_name: str, csr: Path | None
) -> None:
    """Enrol HOST in the settings in FOLDER; the worker's password is read from standard input."""
    from silvermetal_master.authority import worker_file
    from silvermetal_master.site import enrol

    password = sys.stdin.readline().strip()
    if not password:
        raise SettingsError("expected the worker's password on standard input, got nothing")
    enrol(
        folder,
        host=host,
        worker=worker or host,
        public_key=public_key,
        operator=operator,
        site=site_name,
        password=password,
        now=datetime.now(UTC),
        request=csr.read_bytes() if csr is not None else None,
    )
    hand = f"; give {worker_file(folder, worker or host)} to `silvermetal-worker admit`" if csr is not None else ""
    click.echo(f"host {host} is enrolled{hand}")


@main.command()
@click.argument("folder", type=_PATH)
@click.argument("host")
@click.option("--csr", type=_PATH, required=True, help="keys/tls.csr of the worker.")
@ends_cleanly
def admit(folder: Path, host: str, csr: Path) -> None:
    """Give the worker of an enrolled HOST a certificate: its first one, or a new one before the old one ends."""
    from silvermetal_master.authority import admit as sign_request
    from silvermetal_master.settings import load

    entry = load(folder, secrets_needed=False, judging=True).host(host)
    if entry is None or entry.revoked is not None:
        raise SettingsError(f"host {host}: expected an enrolled host that is not revoked, got none")
    click.echo(str(sign_request(folder, entry.worker, csr.read_bytes(), datetime.now(UTC))))


@main.command("renew")
@click.argument("folder", type=_PATH)
@ends_cleanly
def renew(folder: Path) -> None:
    """Make the worker port's certificate anew; the running master takes it for the next connection."""
    from silvermetal_master.authority import renew_server, server_file

    renew_server(folder, datetime.now(UTC))
    click.echo(str(server_file(folder)))


@main.command("make-secrets")
@click.argument("folder", type=_PATH)
@ends_cleanly
def make_secrets(folder: Path) -> None:
    """Make the secrets that the settings in FOLDER need and that are missing."""
    from silvermetal_master.site import make_secrets as make

    made = make(folder)
    click.echo(f"made in {folder / 'secrets'}: {', '.join(made)}" if made else "nothing was missing")


@main.command()
@click.argument("folder", type=_PATH)
@click.argument("name")
@ends_cleanly
def operator(folder: Path, name: str) -> None:
    """Let NAME start and stop builds by the web; the password is read from standard input."""
    from silvermetal_master.operators import OPERATORS, add_operator

    add_operator(folder / "secrets" / OPERATORS, name, sys.stdin.readline().rstrip("\n"))
    click.echo(f"operator {name} is known; restart or reconfigure the master")


@main.command()
@click.argument("folder", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_cleanly
def check(folder: Path, as_json: bool) -> None:
    """Check the settings in FOLDER, and the operators' signatures over its hosts."""
    from silvermetal_master.enrolments import check_enrolments

    settings, hosts = check_enrolments(folder)
    if as_json:
        found = {"ok": True, "quorum": settings.policy.quorum, "recipe": settings.recipe}
        click.echo(json.dumps({**found, "hosts": hosts}, sort_keys=True, indent=2))
        return
    click.echo(f"{folder}: {len(settings.hosts)} hosts, quorum {settings.policy.quorum}, recipe {settings.recipe}")
    for host in hosts:
        vouched = f"signed by operator {host['operator']}" if host["signed"] else host["unsigned"]
        click.echo(f"  {host['host']}: {vouched}{', revoked ' + host['revoked'] if host['revoked'] else ''}")


@main.command()
@click.argument("folder", type=_PATH)
@click.argument("host")
@click.option("--reason", required=True, help="One line; it stands in the entry.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_cleanly
def revoke(folder: Path, host: str, reason: str, as_json: bool) -> None:
    """Shut HOST out from now on: what its key signs counts no more, also in a build that runs."""
    from silvermetal_master.enrolments import revoke as shut_out

    entry = shut_out(folder, host, reason, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps({"ok": True, "host": host, "revoked": entry.revoked}, sort_keys=True, indent=2))
        return
    click.echo(f"host {host} is revoked since {entry.revoked}; a master that runs ends its connection now")


@main.command()
@click.argument("basedir", type=_PATH)
@click.option("--config", type=_PATH, required=True, help="The folder of settings.")
@ends_cleanly
def init(basedir: Path, config: Path) -> None:
    """Make the master's folder BASEDIR."""
    from silvermetal_master.run import init as make

    make(basedir, config)


@main.command()
@click.argument("basedir", type=_PATH)
@ends_cleanly
def run(basedir: Path) -> None:
    """Run the master in BASEDIR, in the foreground."""
    from silvermetal_master.run import run as become

    become(basedir)


@main.command()
@click.argument("basedir", type=_PATH)
@click.option("--clean", is_flag=True, help="Let what runs come to its verdict first; begin nothing new.")
@click.option("--timeout", default=90.0, show_default=True, help="Seconds to wait for the end.")
@ends_cleanly
def stop(basedir: Path, clean: bool, timeout: float) -> None:
    """Stop the master in BASEDIR; return when it is gone. Without --clean, what runs is asked for again later."""
    from silvermetal_master.stopping import stop as end

    click.echo("stopped" if end(basedir, clean=clean, timeout=timeout) else "no master runs there")


@main.command()
@click.argument("basedir", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_cleanly
def status(basedir: Path, as_json: bool) -> None:
    """Say how the master in BASEDIR is: workers, queue, builds, verdicts, disk, ledger. Exit code 4 when it is down."""
    from silvermetal_master.status import describe
    from silvermetal_master.status import status as look

    found = look(basedir)
    click.echo(json.dumps(found, sort_keys=True, indent=2) if as_json else describe(found), nl=as_json)
    sys.exit(0 if found["master"]["up"] else EXIT_NO_ANSWER)


@main.command()
@click.argument("basedir", type=_PATH)
@ends_cleanly
def upgrade(basedir: Path) -> None:
    """Bring the folder of a stopped master, its database above all, to this version of the software."""
    from silvermetal_master.run import upgrade_stopped

    before, after = upgrade_stopped(basedir)
    click.echo(f"{basedir}: database {after}, as before" if before == after else f"{basedir}: {before} to {after}")


@main.command()
@click.argument("basedir", type=_PATH)
@click.option("--ref", required=True, help="Such as refs/tags/v1.")
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds to wait.")
@click.option("--copy-to", type=_PATH, default=None, help="Copy verdict, statements, ledger and explanation here.")
@ends_cleanly
def wait(basedir: Path, ref: str, timeout: float, copy_to: Path | None) -> None:
    """Wait for the verdict on a ref, and print it."""
    from silvermetal_master.wait import copy_out, describe, wait_for

    ended = wait_for(basedir, ref, timeout)
    if ended is None:
        click.echo(f"silvermetal-master: expected a verdict on {ref} within {timeout:g} s, got none", err=True)
        sys.exit(EXIT_NO_VERDICT)
    if copy_to is not None:
        copy_out(ended, basedir, copy_to)
    click.echo(describe(ended), nl=False)
    sys.exit(0 if ended.verdict is not None and ended.verdict.passed else EXIT_OTHER_VERDICT)


@main.command("verification-log")
@click.argument("basedir", type=_PATH)
@click.option("--ref", default="", help="Its newest build with a verdict, such as of refs/heads/bump/….")
@click.option("--build", default="", help="A build by its id, as the record has it.")
@ends_cleanly
def verification_log(basedir: Path, ref: str, build: str) -> None:
    """Print the verification log of a build: which pins its commit changes, and what each host built. Markdown."""
    from silvermetal_master.build_store import BuildStore, NoSuchBuildError
    from silvermetal_master.run import STATE_FOLDER
    from silvermetal_master.steps.verification_log import make_page

    if bool(ref) == bool(build):
        raise SettingsError("expected --ref or --build, one of them")
    store = BuildStore(basedir / STATE_FOLDER)
    try:
        record = store.record(build or (store.newest(ref) or {}).get("build"))
        if not record.judged:
            raise NoSuchBuildError(f"build {record.id}: expected a verdict, got none yet")
        verdict, _, page = make_page(record, basedir / STATE_FOLDER)
    except NoSuchBuildError as error:
        raise SettingsError(str(error)) from None
    click.echo(page, nl=False)
    sys.exit(0 if verdict.passed else EXIT_OTHER_VERDICT)


@main.command("notify-push")
@click.option("--url", required=True, help="The master's change hook.")
@click.option("--secret-file", type=_PATH, required=True)
@click.option("--repository-url", required=True)
@ends_cleanly
def notify_push(url: str, secret_file: Path, repository_url: str) -> None:
    """Send post-receive's lines (standard input) to the master as signed push events."""
    from silvermetal_master.gitea.notify import notify

    secret = secret_file.read_bytes().strip()
    problems = notify(list(sys.stdin), url=url, secret=secret, repository_url=repository_url)
    for problem in problems:
        click.echo(f"silvermetal-master: {problem}", err=True)
    if problems:
        sys.exit(EXIT_NO_ANSWER)


main.add_command(backup)
main.add_command(restore)
main.add_command(clean)

if __name__ == "__main__":
    main()
