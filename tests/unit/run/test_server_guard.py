"""Which names and addresses mean this machine alone."""

from __future__ import annotations

import pytest

from weightshare.run.server_guard import host_of, is_loopback


@pytest.mark.parametrize(
    ("header", "host", "local"),
    [
        ("localhost", "localhost", True),
        ("LOCALHOST:8000", "LOCALHOST", True),
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("127.8.9.1", "127.8.9.1", True),
        ("[::1]:8000", "::1", True),
        ("[::1]", "::1", True),
        ("::1", "::1", True),
        ("", "", False),
        ("0.0.0.0:8000", "0.0.0.0", False),
        ("192.168.0.7:8000", "192.168.0.7", False),
        ("[2001:db8::1]:8000", "2001:db8::1", False),
        ("localhost.example:8000", "localhost.example", False),
        ("127.0.0.1.example", "127.0.0.1.example", False),
    ],
)
def test_host_headers(header: str, host: str, local: bool) -> None:
    assert host_of(header) == host
    assert is_loopback(host_of(header)) is local
