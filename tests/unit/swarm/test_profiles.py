"""The engine runs with what the table says."""

from __future__ import annotations

from typing import Any, cast

import libtorrent as lt
import pytest

from weightshare.swarm.networks import Network
from weightshare.swarm.profiles import TABLE, profile
from weightshare.swarm.session import Session
from weightshare.swarm.settings import listen_interfaces, session_settings

# What would send packets to the outside from a test. That they do what they say is for the captures in namespaces.
QUIET: dict[str, object] = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": "",
    "webtorrent_stun_server": "",
    "listen_interfaces": "127.0.0.1:0",
}


@pytest.mark.parametrize("network", Network)
def test_each_line_is_what_the_engine_runs_with(network: Network) -> None:
    engine = lt.session(cast("Any", session_settings(network) | QUIET))
    runs = dict(engine.get_settings())
    for line in TABLE:
        if line.name not in QUIET:
            assert runs[line.name] == line.on(network), line


def test_a_session_runs_with_its_profile() -> None:
    with Session(network=Network.LOCAL) as session:
        for name, value in profile(Network.LOCAL).items():
            assert session.setting(name) == value, name


def test_the_table_names_real_settings_once_and_says_why() -> None:
    known = set(lt.default_settings())
    names = [line.name for line in TABLE]
    assert set(names) <= known
    assert len(names) == len(set(names))
    assert all(line.why for line in TABLE)


@pytest.mark.parametrize("network", [Network.LAN, Network.LOCAL])
def test_what_reaches_the_outside_is_off(network: Network) -> None:
    settings = session_settings(network)
    for name in (
        "enable_dht",
        "enable_upnp",
        "enable_natpmp",
        "dht_bootstrap_nodes",
        "webtorrent_stun_server",
    ):
        assert not settings[name], name
    assert bool(settings["enable_lsd"]) is (network is Network.LAN)


def test_nobody_is_asked_for_more_metadata_than_the_format_has() -> None:
    assert profile(Network.PUBLIC)["max_metadata_size"] == 8 * 1024 * 1024


def test_without_a_port_all_interfaces_have_the_same() -> None:
    """Given none, the engine takes one for each, and tells neighbours the wrong one."""
    four, six = listen_interfaces(Network.LAN, None).split(",")
    assert four.rpartition(":")[2] == six.rpartition(":")[2] != "0"
    assert listen_interfaces(Network.LAN, 7000) == "0.0.0.0:7000,[::]:7000"
    assert listen_interfaces(Network.PUBLIC, None) == "0.0.0.0:6881,[::]:6881"
    assert listen_interfaces(Network.LOCAL, None) == "127.0.0.1:0"


@pytest.mark.parametrize(("serving", "depth"), [(True, 66), (False, 16)])
def test_what_peers_may_queue_follows_the_peers(serving: bool, depth: int) -> None:
    """One that serves expects one peer; one that fetches expects a crowd, since otherwise it serves nobody."""
    with Session(network=Network.LAN, serving=serving) as session:
        assert session.setting("max_allowed_in_request_queue") == depth
        counters = {
            "net.sent_payload_bytes": 0,
            "peer.num_peers_connected": 2,
            "peer.num_peers_up_interested": 2,
            "peer.num_peers_down_interested": 0,
        }
        session._follow(counters)
        assert session.setting("max_allowed_in_request_queue") == (33 if serving else 16)
