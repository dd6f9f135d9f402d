"""Who may speak to a session that is sealed, and what it runs with."""

from __future__ import annotations

import pytest

from weightshare.errors import UsageError
from weightshare.swarm.networks import Network
from weightshare.swarm.sealing import SEALED, check_allowed, filter_of, ranges_of
from weightshare.swarm.session import Session


def looked_up(name: str) -> list[str] | None:
    return {"mirror.example": ["192.0.2.9", "2001:db8::9"]}.get(name)


def test_a_list_is_read() -> None:
    entries = ["192.0.2.7", "198.51.100.0/24", "mirror.example", "2001:db8:1::/48", "slow.example"]
    assert ranges_of(entries, Network.PUBLIC, looked_up) == (
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.0", "198.51.100.255"),
        ("192.0.2.9", "192.0.2.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff"),
    )
    assert ranges_of(["192.0.2.7", "10.0.0.0/8"], Network.LAN, looked_up) == (("10.0.0.0", "10.255.255.255"),)


@pytest.mark.parametrize("entry", ["", "192.0.2.256", "10.0.0.0/33", "host:6881", "a b", "http://x", "1.2.3"])
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        check_allowed(entry)


def test_entries_are_kept_as_they_are_meant() -> None:
    found = [
        check_allowed(entry) for entry in (" 192.0.2.7", "[2001:DB8::1]", "Mirror.Example", "10.0.0.0/8")
    ]
    assert found == ["192.0.2.7", "2001:db8::1", "mirror.example", "10.0.0.0/8"]


def test_everybody_else_is_shut_out() -> None:
    rules = filter_of([("192.0.2.7", "192.0.2.7"), ("2001:db8::9", "2001:db8::9")])
    assert not rules.access("192.0.2.7")
    assert not rules.access("2001:db8::9")
    for other in ("192.0.2.6", "192.0.2.8", "127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "2001:db8::a"):
        assert rules.access(other), other


@pytest.mark.parametrize("network", Network)
def test_a_sealed_session_runs_quietly_and_an_unsealed_one_as_its_network_has_it(network: Network) -> None:
    with Session(network=network, port=0, sealed=[]) as session:
        for name, value in SEALED.items():
            assert session.setting(name) == value, name
        assert session.sealed
        if network is Network.LOCAL:  # the others would speak to the outside from a test
            session.unseal()
            assert not session.sealed
