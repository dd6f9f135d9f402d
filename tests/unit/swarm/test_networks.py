"""Whom a session may speak to."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightshare.swarm import networks
from weightshare.swarm.networks import (
    Network,
    allowed_trackers,
    allowed_urls,
    allowed_web_seeds,
    allows_host,
    is_inside,
    looks_names_up,
)


@pytest.fixture(autouse=True)
def resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's name servers, at first one on the LAN, and its list of hosts, with one."""
    monkeypatch.setattr(networks, "_RESOLVER", tmp_path / "resolv.conf")
    monkeypatch.setattr(networks, "_HOSTS", tmp_path / "hosts")
    (tmp_path / "hosts").write_text("192.168.1.9 vault Vault.LAN # ours\n#10.0.0.1 gone\n")
    (tmp_path / "resolv.conf").write_text("search example.org\nnameserver 192.168.1.1\n")
    return tmp_path / "resolv.conf"


@pytest.mark.parametrize(
    ("host", "lan", "local"),
    [
        ("127.0.0.1", True, True),
        ("127.8.9.1", True, True),
        ("localhost", True, True),
        ("[::1]", True, True),
        ("::1", True, True),
        ("10.1.2.3", True, False),
        ("172.31.255.255", True, False),
        ("172.32.0.1", False, False),
        ("192.168.1.1", True, False),
        ("169.254.169.254", True, False),
        ("fd00::1", True, False),
        ("fe80::1%eth0", True, False),
        ("8.8.8.8", False, False),
        ("2001:4860:4860::8888", False, False),
        ("tracker.example.org", False, False),
        ("tracker.example.org.", False, False),
        ("seedbox", True, False),
        ("seedbox.local", True, False),
        ("localhost.example.org", False, False),
        ("127.0.0.1.example.org", False, False),
    ],
)
def test_allows_host(host: str, lan: bool, local: bool) -> None:
    assert allows_host(Network.PUBLIC, host)
    assert allows_host(Network.LAN, host) is lan
    assert allows_host(Network.LOCAL, host) is local


def test_allowed_urls_drops_what_lies_outside_or_has_no_host() -> None:
    urls = (
        "udp://tracker.example.org:1337/announce",
        "http://127.0.0.1:6969/announce",
        "http://user@127.0.0.1@example.org/",
        "http://[::1",
        "not a url",
    )
    assert allowed_urls(Network.LOCAL, urls) == ("http://127.0.0.1:6969/announce",)
    assert len(allowed_urls(Network.PUBLIC, urls)) == 3


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        pytest.param("nameserver 192.168.1.1\nnameserver fe80::1%eth0\n", True, id="inside"),
        pytest.param("nameserver 127.0.0.53\n", True, id="this machine"),
        pytest.param("", True, id="none, which is this machine"),
        pytest.param("nameserver 192.168.1.1\nnameserver 9.9.9.9\n", False, id="the second outside"),
        pytest.param("nameserver 2620:fe::fe\n", False, id="IPv6 outside"),
        pytest.param("nameserver what\n", False, id="odd"),
    ],
)
def test_a_name_is_looked_up_on_a_lan_where_the_name_servers_are_inside(
    resolver: Path, text: str, asks: bool
) -> None:
    resolver.write_text(text)
    assert looks_names_up(Network.LAN) is asks
    assert looks_names_up(Network.PUBLIC)
    assert not looks_names_up(Network.LOCAL)
    assert allows_host(Network.LAN, "nas") is asks
    assert allows_host(Network.LAN, "nas.local") is asks
    assert allows_host(Network.LAN, "gone") is asks
    assert allows_host(Network.LAN, "vault"), "the list of hosts asks nobody"
    assert allows_host(Network.LAN, "vault.lan")
    assert not allows_host(Network.LOCAL, "vault")


def test_without_the_files_of_unix_names_of_the_lan_are_looked_up(resolver: Path) -> None:
    resolver.unlink()
    (resolver.parent / "hosts").unlink()
    assert allows_host(Network.LAN, "nas")


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        *(
            (text, True)
            for text in ("127.0.0.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "169.254.169.254", "::1", "::")
        ),
        *(
            (text, True)
            for text in ("[::ffff:127.0.0.1]", "::ffff:10.0.0.1", "fe80::1%eth0", "224.0.0.1", "fd00::1")
        ),
        *(
            (text, False)
            for text in ("9.9.9.9", "::ffff:9.9.9.9", "2001:db8::1", "172.32.0.1", "nas", "localhost")
        ),
    ],
)
def test_is_inside(host: str, inside: bool) -> None:
    assert is_inside(host) is inside


def test_what_a_public_link_may_ask_inside() -> None:
    trackers = (
        "http://192.168.1.1/announce",
        "http://192.168.1.1/reboot",
        "https://localhost/admin",
        "http://tracker.example.org/x",
        "udp://10.0.0.1:6969",
    )
    assert allowed_trackers(Network.PUBLIC, trackers) == (trackers[0], trackers[3], trackers[4])
    assert allowed_trackers(Network.LAN, trackers) == (*trackers[:3], trackers[4])
    seeds = ("http://192.168.1.1/m/", "http://box.localhost./m/", "https://cdn.example.org/m/")
    assert allowed_web_seeds(Network.PUBLIC, seeds) == seeds[2:]
    assert allowed_web_seeds(Network.LAN, seeds) == seeds[:1]
