"""Settings: each mistake is an error that names the file and the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from silvermetal_master.errors import SettingsError
from silvermetal_master.settings import load

from tests.unit.master.site import KEYS, make_site


def test_a_whole_installation_is_read(tmp_path: Path) -> None:
    settings = load(make_site(tmp_path))
    assert [h.host for h in settings.hosts] == ["host-a", "host-b"]
    assert settings.host("host-b") is settings.hosts[1]
    assert settings.host("nobody") is None
    assert (settings.policy.quorum, settings.recipe) == (2, "minimal-live")


def test_attribution_is_off_and_nothing_varies_until_somebody_says_so(tmp_path: Path) -> None:
    folder = make_site(tmp_path)
    settings = load(folder)
    assert (settings.attribution.attribute, settings.variation) == ("off", {})
    add("master.toml", '\n[attribution]\nattribute = "on"\n[variation.host-b]\numask = "0077"\ncores = 1\n')(folder)
    settings = load(folder)
    assert settings.attribution.attribute == "on"
    assert settings.variation["host-b"].plain() == {"umask": "0077", "cores": 1}


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def add(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text) and None


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def mode(name: str, bits: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(bits)


def empty(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(b" \n") and None


BROKEN = {
    "no file": (remove("master.toml"), "master.toml: expected a settings file, got none"),
    "no TOML": (add("master.toml", "\n= ="), "master.toml: expected TOML, got"),
    "no text": (lambda f: (f / "master.toml").write_bytes(b"\xff"), "master.toml: expected TOML, got"),
    "unknown table": (add("master.toml", "\n[surprise]\n"), "master.toml: surprise: expected Extra inputs are not"),
    "unknown key": (
        edit("master.toml", "[policy]\n", "[policy]\nquorun = 2\n"),
        "master.toml: policy.quorun: expected",
    ),
    "missing key": (
        edit("master.toml", 'recipe = "minimal-live"\n', ""),
        "master.toml: repository.recipe: expected Fi",
    ),
    "quorum of one": (
        edit("master.toml", "quorum = 2", "quorum = 1"),
        "master.toml: policy.quorum: expected Input should be greater than or equal to 2, got 1",
    ),
    "quorum as text": (edit("master.toml", "quorum = 2", 'quorum = "2"'), "master.toml: policy.quorum: expected Input"),
    "quorum above hosts": (
        edit("master.toml", "quorum = 2", "quorum = 3"),
        "master.toml: policy.quorum: expected at most the 2 hosts asked first",
    ),
    "level 0": (
        edit("master.toml", "min_independence = 2", "min_independence = 0"),
        "policy.min_independence: expected",
    ),
    "level 5": (
        edit("master.toml", "min_independence = 2", "min_independence = 5"),
        "policy.min_independence: expected",
    ),
    "build longer than all": (
        edit("master.toml", "build_timeout = 10800", "build_timeout = 14401"),
        "master.toml: policy.build_timeout: expected at most policy.deadline (14400 s), got 14401 s",
    ),
    "tags": (
        edit("master.toml", "[repository]\n", '[repository]\ntags = "v["\n'),
        "master.toml: repository.tags: expected a regular expression, got",
    ),
    "endpoint": (edit("master.toml", 'web = "tcp', 'web = "exec'), "master.toml: master.web: expected"),
    "url": (
        edit("master.toml", "http://127.0.0.1:8010/", "http://127.0.0.1:8010"),
        "master.toml: master.url: expected",
    ),
    "option as URL": (edit("master.toml", 'url = "https', 'url = "--upload-pack=https'), "repository.url: expected"),
    "host unknown key": (add("hosts/host-a.toml", "\nroot = true\n"), "hosts/host-a.toml: root: expected Extra inputs"),
    "host key": (edit("hosts/host-a.toml", KEYS["host-a"], "00"), "hosts/host-a.toml: public_key: expected"),
    "host time": (
        edit("hosts/host-a.toml", "2026-01-01T00:00:00Z", "2026-01-01"),
        "hosts/host-a.toml: valid_from: expected",
    ),
    "host under another file": (
        lambda f: (f / "hosts/host-a.toml").rename(f / "hosts/host-z.toml"),
        "hosts/host-z.toml: host: expected host-z (the file's name), got host-a",
    ),
    "two builders on one host": (
        edit("hosts/host-b.toml", 'host = "host-b"', 'host = "host-a"'),
        "hosts/host-b.toml: host: expected one of its own, got host-a, which",
    ),
    "two workers of one name": (
        edit("hosts/host-b.toml", 'worker = "host-b"', 'worker = "host-a"'),
        "hosts/host-b.toml: worker: expected one of its own, got host-a, which",
    ),
    "two hosts with one key": (
        edit("hosts/host-b.toml", KEYS["host-b"], KEYS["host-a"]),
        "hosts/host-b.toml: public_key: expected one of its own, got",
    ),
    "worker named as the master's own": (
        edit("hosts/host-b.toml", 'worker = "host-b"', 'worker = "coordinator-1"'),
        "hosts/host-b.toml: worker: expected a name that the master's own workers do not have, got coordinator-1",
    ),
    "revoked below the quorum": (
        add("hosts/host-b.toml", 'revoked = "2026-02-01T00:00:00Z"\n'),
        "policy.quorum: expected at most the 1 hosts asked first",
    ),
    "attribute neither on nor off": (
        add("master.toml", '\n[attribution]\nattribute = "maybe"\n'),
        "master.toml: attribution.attribute: expected Input should be 'on' or 'off'",
    ),
    "budget of nothing": (
        add("master.toml", "\n[attribution]\nbudget = 0\n"),
        "master.toml: attribution.budget: expected Input should be greater than or equal to 1, got 0",
    ),
    "variation of a factor that there is not": (
        add("master.toml", "\n[variation.host-b]\nweather = 1\n"),
        "master.toml: variation.host-b.weather: expected Extra inputs are not permitted",
    ),
    "variation to a mask that is none": (
        add("master.toml", '\n[variation.host-b]\numask = "77"\n'),
        "master.toml: variation.host-b.umask: expected",
    ),
    "variation of nobody": (
        add("master.toml", '\n[variation.host-z]\numask = "0077"\n'),
        "master.toml: variation.host-z: expected an enrolled host, got host-z",
    ),
    "reserve that nobody enrolled": (
        edit("master.toml", "quorum = 2", 'quorum = 2\nreserve = ["host-z"]'),
        "master.toml: policy.reserve: expected an enrolled host, got host-z",
    ),
    "reserve that the quorum needs": (
        edit("master.toml", "quorum = 2", 'quorum = 2\nreserve = ["host-b"]'),
        "policy.quorum: expected at most the 1 hosts asked first",
    ),
    "no master key": (remove("secrets/master-signing.pem"), "secrets/master-signing.pem: expected a secret in a file"),
    "no hook secret": (remove("secrets/hook"), "secrets/hook: expected a secret in a file"),
    "no password": (remove("secrets/worker-host-b"), "secrets/worker-host-b: expected a secret in a file"),
    "empty password": (empty("secrets/worker-host-b"), "secrets/worker-host-b: expected a secret, got an empty file"),
    "secret for the group": (mode("secrets/hook", 0o640), "secrets/hook: expected mode 0600, got 0640; `chmod 600` it"),
    "secret for all": (mode("secrets/master-signing.pem", 0o604), "secrets/master-signing.pem: expected mode 0600"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_mistake_is_named_with_its_path(tmp_path: Path, name: str) -> None:
    folder = make_site(tmp_path)
    change, message = BROKEN[name]
    change(folder)
    with pytest.raises(SettingsError) as caught:
        load(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_no_secret_is_in_a_message_or_in_the_settings(tmp_path: Path) -> None:
    folder = make_site(tmp_path)
    secret = (folder / "secrets" / "hook").read_text()
    assert secret not in repr(vars(load(folder)))
