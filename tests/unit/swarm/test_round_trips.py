"""The kernel's own measure of our connections."""

from __future__ import annotations

import socket
import sys

import pytest

from weightshare.swarm.round_trips import round_trips


@pytest.mark.skipif(sys.platform != "linux", reason="read from Linux's struct tcp_info")
def test_an_open_connection_has_one_at_each_end() -> None:
    before = len(round_trips())
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            near.sendall(b"x")
            assert far.recv(1) == b"x"
            far.sendall(b"y")
            assert near.recv(1) == b"y"
            measured = round_trips()
            assert len(measured) == before + 2
            assert all(0 < one < 1 for one in measured)
            assert near.getblocking()
            near.sendall(b"z")  # looked at through copies: they still work
            assert far.recv(1) == b"z"
    assert len(round_trips()) == before
