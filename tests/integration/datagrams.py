"""Writes down what comes in by UDP, a line of hex for each datagram.

To be called as `python -m tests.integration.datagrams PORT LOG`.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path


def serve(port: int, log: Path) -> None:
    """Listen on every address until killed."""
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("0.0.0.0", port))
        log.touch()
        while True:
            data, _ = listener.recvfrom(2048)
            with log.open("a") as file:
                file.write(data.hex() + "\n")


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
