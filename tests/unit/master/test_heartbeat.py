"""What systemd hears of the master: ready, alive at half of its interval, stopping."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from silvermetal_master.services.heartbeat import Heartbeat, beat_interval, notify
from twisted.internet import defer, task


@pytest.mark.parametrize(
    ("usec", "seconds"), [("120000000", 60.0), ("1000000", 0.5), ("", None), ("0", None), ("-5", None), ("x", None)]
)
def test_interval_is_half_of_what_systemd_asks(usec: str, seconds: float | None) -> None:
    assert beat_interval(usec) == seconds


@pytest.fixture
def manager() -> Iterator[tuple[socket.socket, str]]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{folder}/notify")
        listener.setblocking(False)
        yield listener, f"{folder}/notify"


def heard(listener: socket.socket) -> list[str]:
    got = []
    while True:
        try:
            got.append(listener.recv(1000).decode())
        except BlockingIOError:
            return got


def test_ready_beats_and_stopping(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    clock = task.Clock()
    beat = Heartbeat(address=address, watchdog_usec="10000000")
    beat.parent = SimpleNamespace(master=SimpleNamespace(reactor=clock))
    defer.ensureDeferred(beat.startService())
    assert heard(listener) == ["READY=1\nSTATUS=master is running", "WATCHDOG=1"]
    clock.advance(4.9)
    assert heard(listener) == []
    clock.advance(0.2)
    assert heard(listener) == ["WATCHDOG=1"]
    clock.pump([5, 5])
    assert heard(listener) == ["WATCHDOG=1", "WATCHDOG=1"]
    defer.ensureDeferred(beat.stopService())
    assert heard(listener) == ["STOPPING=1"]
    clock.advance(20)
    assert heard(listener) == []


def test_nobody_listens() -> None:
    assert not notify("", "READY=1")
    assert not notify("/nowhere/at/all", "READY=1")


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0silvermetal-test-heartbeat")
        listener.setblocking(False)
        assert notify("@silvermetal-test-heartbeat", "READY=1")
        assert heard(listener) == ["READY=1"]
