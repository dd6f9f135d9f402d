"""Whether others can come to us, as far as can be told from in here."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from weightshare.swarm.events import Event, OutsideAddress, PortMapped, PortRefused
from weightshare.swarm.networks import is_inside

_REASON = 120


@dataclass(frozen=True, slots=True)
class Reach:
    """What was heard of our port and address from outside.

    Attributes:
        mapped: what routers say they let through, such as `TCP 6881 by UPnP`.
        refused: why routers did not, by protocol.
        addresses: our addresses, as others see them.
        reached: whether somebody from outside this network has come in, which alone proves that one can.
    """

    mapped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    reached: bool = False


class Reaching:
    """Gathers it from what happens in a session.

    Args:
        own: this machine's addresses; whoever comes from one of them is no proof.
    """

    def __init__(self, own: Iterable[str] = ()) -> None:
        self._own = set(own)
        self._came: set[str] = set()
        self._mapped: dict[str, None] = {}
        self._refused: dict[str, str] = {}
        self._addresses: dict[str, None] = {}

    def hear(self, event: Event) -> None:
        """Take an event into account, if it says something of this."""
        if isinstance(event, PortMapped):
            self._mapped[f"{event.protocol} {event.port} by {event.by}"] = None
        elif isinstance(event, PortRefused):
            self._refused[event.by] = event.reason[:_REASON]
        elif isinstance(event, OutsideAddress):
            self._addresses[event.address] = None

    def meet(self, hosts: Iterable[str]) -> None:
        """Take note of the addresses of peers that dialled us."""
        self._came.update(host for host in hosts if host not in self._own and not is_inside(host))

    def so_far(self) -> Reach:
        """What is known now."""
        refused = (f"{by}: {reason}" for by, reason in self._refused.items())
        # Who comes by our own outside address went round by the router, from in here.
        reached = bool(self._came - set(self._addresses))
        return Reach(tuple(self._mapped), tuple(refused), tuple(self._addresses), reached)


def own_addresses() -> tuple[str, ...]:
    """This machine's own addresses, as far as it can tell without asking anybody."""
    found = {"127.0.0.1", "::1"}
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as one:
                one.connect((far, 9))  # a datagram socket sends nothing until it is told to
                found.add(str(one.getsockname()[0]))
        except OSError:
            continue
    return tuple(sorted(found))
