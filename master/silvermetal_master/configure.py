"""Settings in, ``BuildmasterConfig`` out: the only module that knows all the others.

Rules:

- Requests are never collapsed (H1); no usage data leaves the master; the stock configuration's open doors (try,
  sendchange, anonymous control) are closed.
- Logs are bounded; build data, which holds statements, is never cleaned away.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from buildbot.plugins import secrets, util

from silvermetal_master.builders import make_builders
from silvermetal_master.connections import use_tls
from silvermetal_master.database import engine_settings
from silvermetal_master.gitea.events import GiteaEvents
from silvermetal_master.gitea.login import GiteaLogin
from silvermetal_master.gitea.other_forges import GitHubTags, GitLabTags
from silvermetal_master.monitoring.pages import Monitoring
from silvermetal_master.operators import OPERATORS, OperatorAuth, read_operators
from silvermetal_master.schedulers import make_schedulers
from silvermetal_master.services.heartbeat import Heartbeat
from silvermetal_master.services.presence import Presence
from silvermetal_master.services.retention import Retention
from silvermetal_master.services.shut_out import ShutOut
from silvermetal_master.services.telling import telling_services
from silvermetal_master.settings import LOGIN_SECRET, Settings, hook_secret, load
from silvermetal_master.workers import make_workers

MAX_LOG_BYTES = 128 * 1024 * 1024
_DIALECTS = {"gitea": GiteaEvents, "github": GitHubTags, "gitlab": GitLabTags}
LOG_TAIL_BYTES = 4 * 1024 * 1024
LOG_HORIZON = timedelta(days=180)


def _operators(settings: Settings) -> tuple[Any, list[str]]:
    """How people log in, and who may control; nobody where nothing is said."""
    if settings.access is not None:
        access = settings.access
        login = GiteaLogin(url=access.url, client_id=access.client_id, secret=settings.secrets / LOGIN_SECRET)
        return login, sorted(access.operators)
    file = settings.secrets / OPERATORS
    operators = read_operators(file) if file.exists() else {}
    return (OperatorAuth(operators) if operators else None), sorted(operators)


def _www(settings: Settings) -> dict[str, Any]:
    auth, operators = _operators(settings)
    return {
        "port": settings.master.web,
        "plugins": {"waterfall_view": {}, "console_view": {}, "grid_view": {}},
        "change_hook_dialects": {
            name: {
                "custom_class": _DIALECTS[name],
                "secret": util.Secret(hook_secret(name)),
                "repository": settings.repository.url,
                "tags": settings.repository.tags,
            }
            for name in settings.repository.hooks
        },
        **({"auth": auth} if auth is not None else {}),
        # Reading is open, every control needs a role (H4): the last rule matches whatever is left.
        "authz": util.Authz(
            allowRules=[util.AnyControlEndpointMatcher(role="operators")],
            roleMatchers=[util.RolesFromUsername(roles=["operators"], usernames=operators)],
        ),
    }


def make_services(settings: Settings, state: Path) -> list[Any]:
    """What the master does beside its builds."""
    return [
        Heartbeat(),
        ShutOut(hosts=str(settings.folder / "hosts")),
        Presence(state=str(state)),
        Retention(state=str(state), days=settings.retention.derived_days, mebibytes=settings.retention.derived_mib),
        *telling_services(settings, str(state)),
        Monitoring(config=str(settings.folder), state=str(state)),
    ]


def configure(folder: Path, state: Path) -> dict[str, Any]:
    """Return Buildbot's configuration for the settings in ``folder``; records of builds are kept in ``state``.

    :raises SettingsError: naming the file and the key that is wrong.
    """
    settings = load(folder)
    use_tls(folder)
    return {
        "title": settings.master.title,
        "titleURL": settings.master.url,
        "buildbotURL": settings.master.url,
        "buildbotNetUsageData": None,
        "collapseRequests": False,
        "db": engine_settings(settings.database),
        "protocols": {"pb": {"port": settings.master.workers}},
        "secretsProviders": [secrets.SecretInAFile(dirname=str(settings.secrets))],
        "workers": make_workers(settings),
        "builders": make_builders(settings, str(state)),
        "schedulers": make_schedulers(settings, str(state)),
        # Logs alone: build data holds statements and has no horizon.
        "configurators": [util.JanitorConfigurator(logHorizon=LOG_HORIZON, hour=3, dayOfWeek=6)],
        "services": make_services(settings, state),
        "logMaxSize": MAX_LOG_BYTES,
        "logMaxTailSize": LOG_TAIL_BYTES,
        "www": _www(settings),
    }
