"""What the demo accepts on its command line."""

from __future__ import annotations

import pytest
from silvermetal_demo.options import Options, parse


def test_defaults() -> None:
    assert parse([]) == Options(hosts="netns", diverge=None, keep=False, tag="v1", recipe="minimal-live")


def test_release_is_asked_for() -> None:
    assert parse(["--release"]).release
    assert not parse([]).release


def test_diverge_with_and_without_a_file() -> None:
    assert parse(["--diverge"]).diverge == "/etc/issue"
    assert parse(["--diverge=/etc/motd"]).diverge == "/etc/motd"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tag", "main"],
        ["--tag", "v1..2"],
        ["--tag", "v1.lock"],
        ["--diverge=etc/issue"],
        ["--diverge=/etc/../x"],
        ["--hosts=three"],
        ["--div"],
        ["now"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "demo.sh: error:" in capsys.readouterr().err
