"""The round trips of this process's TCP connections, as the kernel measured them; Linux only, nothing elsewhere.

The engine tells how long a request took, which is mostly the queue at the other end, and nothing of peers that only
take. The kernel keeps the shortest round trip of each connection: the path alone.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from pathlib import Path

_FOLDER = Path("/proc/self/fd")
_MIN_RTT = 148  # `tcpi_min_rtt` in `struct tcp_info` of linux/tcp.h, microseconds; unchanged since Linux 4.9
_ESTABLISHED = 1
_NEVER = 0xFFFFFFFF


def round_trips() -> list[float]:
    """The shortest round trip of each established connection in seconds; empty where it cannot be known."""
    if sys.platform != "linux":
        return []
    found = []
    for entry in _FOLDER.iterdir():
        try:
            measured = _of(int(entry.name))
        except OSError:  # closed meanwhile, or no socket after all
            continue
        if measured is not None:
            found.append(measured)
    return found


def _of(number: int) -> float | None:
    if sys.platform != "linux" or not stat.S_ISSOCK(os.fstat(number).st_mode):
        return None
    # The engine's own descriptor may be closed at any moment and its number be used again: look through a copy.
    with socket.socket(fileno=os.dup(number)) as copy:
        if copy.type != socket.SOCK_STREAM or copy.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT + 4)
    if len(info) < _MIN_RTT + 4 or info[0] != _ESTABLISHED:
        return None
    (shortest,) = struct.unpack_from("=I", info, _MIN_RTT)
    return shortest / 1e6 if 0 < shortest < _NEVER else None
