"""What proves that others can come to us, and what does not."""

from __future__ import annotations

from weightshare.swarm.events import OutsideAddress, PortMapped, PortRefused
from weightshare.swarm.reach import Reaching


def test_only_somebody_from_outside_proves_it() -> None:
    reaching = Reaching(["203.0.113.1"])
    reaching.hear(OutsideAddress("", "198.51.100.1"))
    reaching.meet(["127.0.0.1", "192.168.1.7", "203.0.113.1", "198.51.100.1"])
    assert not reaching.so_far().reached
    reaching.meet(["203.0.113.9"])
    assert reaching.so_far().reached


def test_what_routers_say_is_kept_apart() -> None:
    reaching = Reaching()
    reaching.hear(PortMapped("", "UPnP", "TCP", 6881))
    reaching.hear(PortRefused("", "NAT-PMP or PCP", "no router found"))
    found = reaching.so_far()
    assert found.mapped == ("TCP 6881 by UPnP",)
    assert found.refused == ("NAT-PMP or PCP: no router found",)
    assert not found.reached
