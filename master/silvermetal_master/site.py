"""Writing the settings of a new installation: what the demo and `silvermetal-master site` use.

Rules:

- Secrets and the master's key are made here, in files of mode 0600, and are never printed.
- An existing installation is not changed.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from importlib import resources
from pathlib import Path

from silvermetal_proof.host import HostEntry
from silvermetal_proof.model import format_time
from silvermetal_proof.statement import SigningKey

from silvermetal_master.authority import CA_KEY, admit, authority_file, make_authority
from silvermetal_master.errors import SettingsError
from silvermetal_master.secret_files import write_secret
from silvermetal_master.settings import FROM_ELSEWHERE, HOOK_SECRET, MASTER_KEY, load, needed_secrets, password_name


def _toml_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _table(name: str, values: dict[str, str | int]) -> str:
    lines = [f"{k} = {_toml_string(v) if isinstance(v, str) else v}" for k, v in values.items()]
    return f"[{name}]\n" + "\n".join(lines) + "\n"


def write_site(
    folder: Path,
    *,
    repository: str,
    recipe: str,
    url: str,
    web: str,
    workers: str,
    origin: str,
    database: str = "sqlite:///state.sqlite",
    quorum: int = 2,
    min_independence: int = 2,
    deadline: int = 14400,
    build_timeout: int = 10800,
) -> None:
    """Write ``master.toml``, ``master.cfg``, the master's key and the hook's secret into ``folder``.

    ``web`` and ``workers`` are Twisted endpoints; times are in seconds. :raises SettingsError: when one is there.
    """
    if (folder / "master.toml").exists():
        raise SettingsError(f"{folder}: expected no installation, got one; remove it or edit master.toml")
    (folder / "hosts").mkdir(parents=True, exist_ok=True)
    policy: dict[str, str | int] = {
        "quorum": quorum,
        "min_independence": min_independence,
        "deadline": deadline,
        "build_timeout": build_timeout,
    }
    tables = [
        _table(
            "master",
            {
                "id": f"urn:silvermetal:master:{origin}".replace("/", "-"),
                "url": url,
                "web": web,
                "workers": workers,
                "database": database,
            },
        ),
        _table("repository", {"url": repository, "recipe": recipe}),
        _table("policy", policy),
        _table("ledger", {"origin": origin}),
    ]
    (folder / "master.toml").write_text("\n".join(tables), encoding="utf-8")
    (folder / "master.cfg").write_bytes(
        resources.files("silvermetal_master").joinpath("templates/master.cfg").read_bytes()
    )
    key = SigningKey.generate()
    write_secret(folder / "secrets" / MASTER_KEY, key.pem)
    write_secret(folder / "secrets" / HOOK_SECRET, secrets.token_hex(32).encode())
    (folder / "master.pub").write_text(f"{key.public.hex}\n", encoding="ascii")
    if workers.startswith("tls:"):
        make_authority(folder)


def make_secrets(folder: Path) -> list[str]:
    """Make every secret that the settings in ``folder`` need and that is missing; return their names.

    :raises SettingsError: when the settings themselves are wrong.
    """
    # Before the first host is enrolled there are fewer than the quorum: that is for `check` to say.
    settings = load(folder, secrets_needed=False, judging=True)
    made = []
    for name in needed_secrets(settings):
        if name not in FROM_ELSEWHERE and not (settings.secrets / name).exists():
            key = SigningKey.generate()
            write_secret(settings.secrets / name, key.pem if name == MASTER_KEY else secrets.token_hex(32).encode())
            if name == MASTER_KEY:
                (folder / "master.pub").write_text(f"{key.public.hex}\n", encoding="ascii")
            made.append(name)
    if settings.master.workers.startswith("tls:") and not authority_file(folder).exists():
        make_authority(folder)
        made.append(CA_KEY)
    return made


def enrol(
    folder: Path,
    *,
    host: str,
    worker: str,
    public_key: str,
    operator: str,
    site: str,
    password: str,
    now: datetime,
    request: bytes | None = None,
) -> HostEntry:
    """Write ``hosts/<host>.toml``, the worker's password and, for TLS, its certificate.

    :raises ProofError: when a value is wrong. :raises SettingsError: when the certificate's request is.
    """
    entry = HostEntry.from_plain(
        {
            "host": host,
            "worker": worker,
            "public_key": public_key,
            "operator": operator,
            "site": site,
            "valid_from": format_time(now),
        },
        what=f"host {host}",
    )
    _ = entry.key
    if request is not None:
        admit(folder, worker, request, now)
    lines = [f"{name} = {_toml_string(value)}" for name, value in entry.plain().items()]
    path = folder / "hosts" / f"{host}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    write_secret(folder / "secrets" / password_name(worker), password.encode())
    return entry
