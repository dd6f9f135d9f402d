"""Whom a session may speak to."""

from __future__ import annotations

import pytest

from weightshare.swarm.networks import Network, allowed_urls, allows_host


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
