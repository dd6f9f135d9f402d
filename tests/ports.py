"""Ports that are free just now."""

from __future__ import annotations

import contextlib
import socket


def free_port() -> int:
    """A port of the loopback device on which nobody listens, neither over TCP nor over UDP."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            with contextlib.suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                return port
