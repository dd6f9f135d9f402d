"""Where a connection may lead: inside the network allowed, and no stranger's link into the user's own."""

from __future__ import annotations

import socket
from typing import Any

from weightshare.swarm.networks import Network, allows_host, is_inside


class Reach:
    """Which addresses may be connected to, whatever name or redirect led there.

    Args:
        network: the network allowed.
        inside: whether the public network includes this machine and its own; over once an address outside was asked.
    """

    def __init__(self, network: Network, *, inside: bool) -> None:
        self._network = network
        self._inside = inside

    @property
    def proxied(self) -> bool:
        """Whether a proxy may be asked: it might ask outside for what must not leave a narrower network."""
        return self._network is Network.PUBLIC

    def refuses(self, host: str) -> str:
        """Why a host must not even be looked up; empty if it may be."""
        if not allows_host(self._network, host):
            return f"{host} lies outside the network allowed ({self._network})"
        if self._network is Network.PUBLIC and not self._inside and (host == "localhost" or is_inside(host)):
            return f"a stranger's link leads to {host}, inside your own network"
        return ""

    def outside(self) -> None:
        """The way led outside without a connection of ours, by a proxy: there is none back in."""
        self._inside = False

    def connect(self, address: tuple[str, int], timeout: Any = None, source: Any = None) -> socket.socket:
        """What `socket.create_connection` does, over the addresses that are allowed.

        Raises:
            PermissionError: there are addresses, and none may be connected to.
            OSError: as `socket.create_connection`.
        """
        host, port = address
        refused: OSError = OSError(f"{host} has no address")
        for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            numeric = str(found[0])
            inside = is_inside(numeric)
            if not allows_host(self._network, numeric):
                refused = PermissionError(f"{numeric} lies outside the network allowed ({self._network})")
            elif self._network is Network.PUBLIC and inside and not self._inside:
                refused = PermissionError(f"a stranger's link leads to {numeric}, inside your own network")
            else:
                try:
                    connection = socket.create_connection((numeric, port), timeout, source)
                except OSError as error:
                    refused = error
                    continue
                self._inside = self._inside and inside
                return connection
        raise refused
