"""Whether others can come to us, as far as can be told from in here."""

from __future__ import annotations

from dataclasses import dataclass

from weightshare.swarm.alerts import Event, OutsideAddress, PortMapped, PortRefused

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
    """Gathers it from what happens in a session."""

    def __init__(self) -> None:
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

    def so_far(self, *, reached: bool) -> Reach:
        """What is known now."""
        refused = (f"{by}: {reason}" for by, reason in self._refused.items())
        return Reach(tuple(self._mapped), tuple(refused), tuple(self._addresses), reached)
