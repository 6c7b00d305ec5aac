"""The scope of M1.1: the base derivative and nothing more.

Rules:

- A setting or a file of the recipe that belongs to a later milestone is refused, and told where it belongs.
- Branding is what upstream takes by environment: a name and a site. Pictures, themes and menus are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from silvermetal_proof.envfile import Setting
from silvermetal_proof.errors import MalformedError

LATER = {
    "HARDENING": "the hardening overlays",
    "SBOM": "the bill of materials",
    "SIGNING": "the signing ceremony",
    "BROWSER": "SilverBrowser",
    "VPN": "SilverVPN",
    "SYNC": "SilverSync",
    "CHAT": "SilverChat",
    "INSTALLER": "the installer's branding",
    "CALAMARES": "the installer's branding",
    "THEME": "branding beyond the name and the site",
    "SPLASH": "branding beyond the name and the site",
    "LOGO": "branding beyond the name and the site",
    "WALLPAPER": "branding beyond the name and the site",
    "UPDATE": "the update server",
}
"""A word of a name, and the milestone's part that it belongs to."""


def _words(name: str) -> list[str]:
    for mark in "/.-":
        name = name.replace(mark, "_")
    return name.upper().split("_")


def _refuse(what: str, word: str, got: str) -> MalformedError:
    return MalformedError(
        f"{what} is out of the base derivative's scope (M1.1)",
        expected=f"it in the recipe of a later milestone: {LATER[word]}",
        got=got,
    )


def check_scope(settings: Mapping[str, Setting]) -> None:
    """:raises MalformedError: at the first key that belongs to a later milestone than the base derivative."""
    for key, setting in settings.items():
        for word in _words(key):
            if word in LATER:
                raise _refuse(f"{setting.where}: {key}", word, setting.value)


def check_files(names: Iterable[str]) -> None:
    """:raises MalformedError: at the first file of the recipe's folder that belongs to a later milestone."""
    for name in sorted(names):
        for word in _words(name):
            if word in LATER:
                raise _refuse(name, word, "that file in the base's recipe")
