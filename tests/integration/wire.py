"""What the kernel says of TCP connections on loopback. Linux only."""

from __future__ import annotations

from pathlib import Path

from tests.integration.waiting import until

_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"


def connections(port: int) -> list[int]:
    """Bytes sent and not yet read, for each end of each connection with a port of this machine."""
    found = []
    for line in _TABLE.read_text().splitlines()[1:]:
        _, here, there, state, queues = line.split()[:5]
        if state == _ESTABLISHED and port in (_port(here), _port(there)):
            found.append(sum(int(queue, 16) for queue in queues.split(":")))
    return found


def underway(port: int) -> int:
    """Bytes that one side has sent and the other, which has been stopped, has not read: once they no longer change."""
    seen: list[int] = []

    def settled() -> bool:
        seen.append(sum(connections(port)))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    until(settled, "the connection to fill up", within=10)
    return seen[-1]


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)
