"""Settings of one installation: ``master.toml``, ``hosts/*.toml``, ``secrets/``.

Rules:

- Strict: an unknown key, a missing secret, two entries for one host, worker or key, a quorum of one, or fewer hosts
  than the quorum is an error that names the file and the key.
- These are the installation's own: a tag that is built can change recipes and pins, never who may sign.
- Secrets are files of the ``secrets`` folder; their names are here, their contents are not.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints
from silvermetal_proof import ProofError
from silvermetal_proof.builder_image import Repository
from silvermetal_proof.host import HostEntry, Operator
from silvermetal_proof.model import Line, Name, Record
from silvermetal_proof.variation import Variation

from silvermetal_master.database import engine_settings, with_password
from silvermetal_master.errors import SettingsError
from silvermetal_master.loopback import is_loopback
from silvermetal_master.tag_signature import SignedTags
from silvermetal_master.telling_settings import SMTP_SECRET, GiteaSettings, NoticesSettings, ReconcileSettings

Endpoint = Annotated[str, StringConstraints(pattern=r"\A(tcp|ssl|unix|tls):[^\s]{1,400}\z")]
"""A Twisted server endpoint description, such as ``tcp:9989:interface=192.0.2.1``; for workers ``tls:…`` too."""


class MasterSettings(Record):
    """``[master]``: this service."""

    id: Annotated[str, StringConstraints(pattern=r"\Aurn:[A-Za-z0-9][A-Za-z0-9:._-]{1,200}\z")]
    """The verifier's id in verdicts."""
    title: Line = "SilverMetal"
    url: Annotated[str, StringConstraints(pattern=r"\Ahttps?://[^\s]{1,200}/\z")]
    web: Endpoint = "tcp:8010:interface=127.0.0.1"
    workers: Endpoint = "tcp:9989:interface=127.0.0.1"
    database: Line = "sqlite:///state.sqlite"
    verifications: Annotated[int, Field(ge=1, le=64)] = 2
    """Verifications that may run at once."""
    logs: Literal["text", "json"] = "text"
    """The log's form: lines for people, or one JSON object a line."""


class RepositorySettings(Record):
    """``[repository]``: what is built."""

    url: Annotated[str, StringConstraints(pattern=r"\A[^\s-][^\s]{0,400}\z")]
    tags: Annotated[str, Field(max_length=200)] = r"v[0-9].*"
    """Regular expression that a tag's whole name must match."""
    recipe: Name
    hooks: tuple[Literal["gitea", "github", "gitlab"], ...] = ("gitea",)
    """Forges whose hooks are heard, at ``change_hook/<name>``, each with a secret of its own."""


class PolicySettings(Record):
    """``[policy]``: what is asked of a build. Times are in seconds."""

    quorum: Annotated[int, Field(ge=2, le=16)] = 2
    min_independence: Annotated[int, Field(ge=1, le=4)] = 2
    deadline: Annotated[int, Field(ge=10, le=7 * 86400)] = 4 * 3600
    build_timeout: Annotated[int, Field(ge=10, le=7 * 86400)] = 3 * 3600
    signed_tags: SignedTags = SignedTags.WHEN_PRESENT
    """``required``, ``when-present`` or ``off``; who may sign is in the folder ``signers``."""
    reserve: tuple[Name, ...] = ()
    """Hosts that are asked only when the others stand one against one."""


class AttributionSettings(Record):
    """``[attribution]``: builds that find out why hosts diverged, made after the verdict, which stands."""

    attribute: Literal["on", "off"] = "off"
    budget: Annotated[int, Field(ge=1, le=1000)] = 24
    """Builds that one divergence may cost, on all hosts together."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 2
    """How often each host builds again before chance is ruled out, and how often a flaky factor must show nothing."""
    deadline: Annotated[int, Field(ge=10, le=30 * 86400)] = 86400
    """Seconds for all of them together."""
    patience: Annotated[int, Field(ge=1, le=86400)] = 300
    """Seconds that a host may be away before the build that it was asked for counts as failed."""


class LedgerSettings(Record):
    """``[ledger]``: the log of verdicts."""

    origin: Annotated[str, StringConstraints(pattern=r"\A[a-z0-9][a-z0-9./_-]{2,200}\z")]


class BuilderImageSettings(Record):
    """``[builder_image]``: who makes the image that a commit leaves to its ``docker/``, and where it is pushed."""

    repository: Repository
    """``REGISTRY/NAME``; the registry's credentials are in the host's worker.toml (``registry_auth``)."""
    host: Name
    """The enrolled host that makes it, with an engine of Docker's."""
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    """How often the registry is asked before the build ends as INFRA."""
    pause: Annotated[int, Field(ge=0, le=3600)] = 60
    """Seconds between two tries."""
    deadline: Annotated[int, Field(ge=10, le=86400)] = 2 * 3600
    """Seconds in all, from asking the host to the digest."""


class AccessSettings(Record):
    """``[access]``: operators log in with their Gitea accounts; without this table by the file of ``operator``."""

    url: Annotated[str, StringConstraints(pattern=r"\Ahttps?://[^\s/][^\s]{0,200}\z")]
    client_id: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9._-]{1,200}\z")]
    operators: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100)]
    """Accounts that may start and stop builds, in lower case; anybody else may read."""


class ReleaseSettings(Record):
    """``[release]``: a folder of static files in which releases are published too, or alone."""

    folder: Annotated[str, StringConstraints(pattern=r"\A/[^\x00]{1,400}\z")]
    receive: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9.:\[\]-]{1,200}:[0-9]{1,5}\z")] | None = None
    """As in ``[gitea]``, where there is no such table."""


class RetentionSettings(Record):
    """``[retention]``: how long and how much of what is derived from builds stays; proofs stay for ever."""

    derived_days: Annotated[int, Field(ge=1, le=36500)] = 365
    derived_mib: Annotated[int, Field(ge=1, le=2**30)] = 20480


class File(Record):
    """``master.toml``."""

    master: MasterSettings
    repository: RepositorySettings
    policy: PolicySettings = PolicySettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    attribution: AttributionSettings = AttributionSettings()
    variation: dict[Name, Variation] = {}
    """``[variation.<host>]``: what that host does otherwise on purpose."""
    ledger: LedgerSettings
    operators: tuple[Operator, ...] = ()
    gitea: GiteaSettings | None = None
    notices: NoticesSettings = NoticesSettings()
    release: ReleaseSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    access: AccessSettings | None = None
    builder_image: BuilderImageSettings | None = None


class Settings:
    """All settings of one installation, checked together."""

    def __init__(self, folder: Path, file: File, hosts: tuple[HostEntry, ...]) -> None:
        self.folder = folder
        self.master = file.master
        self.repository = file.repository
        self.policy = file.policy
        self.reconcile = file.reconcile
        self.attribution = file.attribution
        self.variation = file.variation
        self.ledger = file.ledger
        self.operators = file.operators
        self.gitea = file.gitea
        self.notices = file.notices
        self.release = file.release
        self.retention = file.retention
        self.access = file.access
        self.builder_image = file.builder_image
        self.hosts = hosts

    @property
    def secrets(self) -> Path:
        """The folder of secrets."""
        return self.folder / "secrets"

    @property
    def signers(self) -> Path:
        """The folder that says who may sign tags."""
        return self.folder / "signers"

    @property
    def receive(self) -> str | None:
        """``HOST:PORT`` at which a worker delivers an ISO; None where nothing is published."""
        return receive_of(self.gitea, self.release)

    @property
    def database(self) -> str:
        """The database's URL with its password: a secret."""
        return with_password(self.master.database, self.secrets / DATABASE_PASSWORD)

    @property
    def recipe(self) -> str:
        """The recipe that tags build."""
        return self.repository.recipe

    def host(self, name: str) -> HostEntry | None:
        """The entry of one host."""
        return next((h for h in self.hosts if h.host == name), None)


def receive_of(gitea: GiteaSettings | None, release: ReleaseSettings | None) -> str | None:
    """Where a worker delivers, by the two tables that may say so."""
    if release is not None and release.receive is not None:
        return release.receive
    return gitea.receive if gitea is not None else None


_R = TypeVar("_R", bound=Record)


def _load(path: Path, kind: type[_R]) -> _R:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return kind.from_plain(values, what=str(path))
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: expected a settings file, got none; `silvermetal-master site` writes one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML, got {error}") from None
    except ProofError as error:
        raise SettingsError(str(error)) from None


def entry_file(folder: Path, host: str) -> Path:
    """Where a host's entry lies."""
    return folder / "hosts" / f"{host}.toml"


def read_entry(path: Path) -> HostEntry:
    """One host's entry. :raises SettingsError: naming the file and the key."""
    return _load(path, HostEntry)


def password_name(worker: str) -> str:
    """The name of the secret that holds a worker's password."""
    return f"worker-{worker}"


MASTER_KEY = "master-signing.pem"
GITEA_TOKEN = "gitea-token"  # noqa: S105 - the name of a secret, not the secret
DATABASE_PASSWORD = "database-password"  # noqa: S105 - the name of a secret, not the secret
LOGIN_SECRET = "gitea-login"  # noqa: S105 - the name of a secret, not the secret
FROM_ELSEWHERE = frozenset({GITEA_TOKEN, LOGIN_SECRET, SMTP_SECRET})
"""Secrets that another server gives, and that cannot be made here."""
HOOK_SECRET = "hook"  # noqa: S105 - the name of a secret, not the secret


COORDINATOR = re.compile(r"coordinator-[0-9]+")
"""Names of the master's own workers."""


def hook_secret(forge: str) -> str:
    """The name of the secret of a forge's hook."""
    return HOOK_SECRET if forge == "gitea" else f"{HOOK_SECRET}-{forge}"


def needed_secrets(settings: Settings) -> list[str]:
    """The names of all secrets that these settings need."""
    gitea = [GITEA_TOKEN] if settings.gitea is not None else []
    return [
        MASTER_KEY,
        *map(hook_secret, settings.repository.hooks),
        *gitea,
        *settings.notices.secrets,
        *([LOGIN_SECRET] if settings.access is not None else []),
        *(password_name(h.worker) for h in settings.hosts),
    ]


def _check_secrets(settings: Settings) -> None:
    for name in needed_secrets(settings):
        path = settings.secrets / name
        if not path.is_file():
            raise SettingsError(f"{path}: expected a secret in a file that only its owner can read, got no file")
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise SettingsError(f"{path}: expected mode 0600, got {mode:04o}; `chmod 600` it")
        if not path.read_bytes().strip():
            raise SettingsError(f"{path}: expected a secret, got an empty file")


def _check_hosts(folder: Path, hosts: list[tuple[Path, HostEntry]], policy: PolicySettings, *, judging: bool) -> None:
    for field in ("host", "worker", "public_key"):
        seen: dict[str, Path] = {}
        for path, entry in hosts:
            value = getattr(entry, field)
            if value in seen:
                raise SettingsError(
                    f"{path}: {field}: expected one of its own, got {value}, which {seen[value]} has; "
                    "one builder, worker and key a host"
                )
            seen[value] = path
    for path, entry in hosts:
        if COORDINATOR.fullmatch(entry.worker):
            raise SettingsError(
                f"{path}: worker: expected a name that the master's own workers do not have, got {entry.worker}"
            )
        if path.stem != entry.host:
            raise SettingsError(f"{path}: host: expected {path.stem} (the file's name), got {entry.host}")
    known = {entry.host for _, entry in hosts}
    for name in policy.reserve:
        if name not in known and not judging:
            raise SettingsError(f"{folder / 'master.toml'}: policy.reserve: expected an enrolled host, got {name}")
    quorum = policy.quorum
    usable = sum(1 for _, entry in hosts if entry.revoked is None and entry.host not in policy.reserve)
    if usable < quorum and not judging:
        raise SettingsError(
            f"{folder / 'master.toml'}: policy.quorum: expected at most the {usable} hosts asked first, of "
            f"{folder / 'hosts'}, got {quorum}"
        )


def _check_access(where: Path, file: File) -> None:
    """The client's secret travels by TLS, or stays on this machine."""
    url = urlsplit(file.access.url if file.access is not None else "https:")
    if url.scheme != "https" and not is_loopback(url.hostname or ""):
        raise SettingsError(
            f"{where}: access.url: expected https, for a secret goes there, got {url.geturl()}; plain http is for this "
            "machine's own loopback"
        )


def _check_publishing(where: Path, file: File) -> None:
    """Tokens travel by TLS, or stay on this machine; what is published must come from somewhere."""
    url = urlsplit(file.gitea.url if file.gitea is not None else "https:")
    if file.gitea is not None and url.scheme != "https" and not is_loopback(url.hostname or ""):
        raise SettingsError(
            f"{where}: gitea.url: expected https, for a token goes there, got {file.gitea.url}; plain http is for this "
            "machine's own loopback"
        )
    receive = receive_of(file.gitea, file.release)
    if receive is None:
        if file.release is not None:
            raise SettingsError(f"{where}: release.receive: expected HOST:PORT where there is no [gitea], got nothing")
    elif not file.master.workers.startswith("tls:") and not is_loopback(receive.rpartition(":")[0]):
        table = "release" if file.release is not None and file.release.receive is not None else "gitea"
        raise SettingsError(
            f"{where}: {table}.receive: expected an address of the loopback where workers connect without TLS, got "
            f"{receive}; set master.workers to tls:…"
        )


def load(folder: Path, *, secrets_needed: bool = True, judging: bool = False) -> Settings:
    """Read and check the settings in ``folder``. :raises SettingsError: naming the file and the key.

    ``judging``: a host revoked while it builds may leave fewer than the quorum; that is a verdict, not a mistake.
    """
    file = _load(folder / "master.toml", File)
    try:
        re.compile(file.repository.tags)
    except re.error as error:
        raise SettingsError(
            f"{folder / 'master.toml'}: repository.tags: expected a regular expression, got {error}"
        ) from None
    if file.policy.build_timeout > file.policy.deadline:
        raise SettingsError(
            f"{folder / 'master.toml'}: policy.build_timeout: expected at most policy.deadline "
            f"({file.policy.deadline} s), got {file.policy.build_timeout} s"
        )
    _check_access(folder / "master.toml", file)
    _check_publishing(folder / "master.toml", file)
    hosts = [(path, _load(path, HostEntry)) for path in sorted((folder / "hosts").glob("*.toml"))]
    try:
        engine_settings(with_password(file.master.database, folder / "secrets" / DATABASE_PASSWORD))
    except SettingsError as error:
        raise SettingsError(f"{folder / 'master.toml'}: {error}") from None
    _check_hosts(folder, hosts, file.policy, judging=judging)
    for name in () if judging else file.variation:
        if name not in {entry.host for _, entry in hosts}:
            raise SettingsError(f"{folder / 'master.toml'}: variation.{name}: expected an enrolled host, got {name}")
    maker = file.builder_image
    if maker is not None and not judging and maker.host not in {e.host for _, e in hosts if e.revoked is None}:
        raise SettingsError(
            f"{folder / 'master.toml'}: builder_image.host: expected an enrolled host that is not revoked, got "
            f"{maker.host}"
        )
    settings = Settings(folder, file, tuple(entry for _, entry in hosts))
    if secrets_needed:
        _check_secrets(settings)
    return settings
