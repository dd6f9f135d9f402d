"""Names of peers, looked up beside the transfer."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.integration.waiting import until
from weightshare.swarm.lookup import Lookup
from weightshare.swarm.networks import Network


def test_an_address_is_its_own_answer() -> None:
    lookup = Lookup(Network.LAN)
    assert lookup.addresses("10.1.2.3") == ["10.1.2.3"]
    assert lookup.addresses("fe80::1%eth0") == ["fe80::1%eth0"]
    assert lookup.addresses("203.0.113.1") == []


def test_a_name_takes_its_time_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *_: object, **__: object) -> object:
        answer.wait(30)
        return [entry for name in ("10.0.0.1", "203.0.113.1") for entry in real(name, None)]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    lookup = Lookup(Network.LAN)
    before = threading.active_count()
    assert lookup.addresses("nas") is None
    assert lookup.addresses("nas") is None
    assert threading.active_count() <= before + 1
    answer.set()
    assert until(lambda: lookup.addresses("nas"), "the answer") == ["10.0.0.1"]


def test_a_name_that_nobody_knows_has_no_address() -> None:
    lookup = Lookup(Network.LOCAL)
    until(lambda: lookup.addresses("no\ud800name") is not None, "the answer")
    assert lookup.addresses("no\ud800name") == []
