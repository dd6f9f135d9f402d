"""The addresses of peers that are given by name, looked up beside the transfer: a name server may take its time."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

from weightshare.swarm.networks import Network, allows_host

_GOOD_FOR = 60.0  # seconds until a name is looked up again


class Lookup:
    """Looks names up, each in a thread of its own, and remembers them for a minute.

    Args:
        network: addresses outside it are left out, whatever the name says.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._found: dict[str, tuple[float, list[str]]] = {}
        self._running: dict[str, threading.Thread] = {}

    @property
    def settled(self) -> bool:
        """Whether no name is being looked up just now."""
        return not any(thread.is_alive() for thread in self._running.values())

    def addresses(self, host: str) -> list[str] | None:
        """A host's addresses, none if it has none; None while they are being looked up."""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            pass
        else:
            return [host] if allows_host(self._network, host) else []
        known = self._found.get(host)
        if known is not None and time.monotonic() - known[0] < _GOOD_FOR:
            return known[1]
        running = self._running.get(host)
        if running is None or not running.is_alive():
            self._running[host] = threading.Thread(target=self._look_up, args=(host,), daemon=True)
            self._running[host].start()
        # An address that was right a minute ago is better than none.
        return known[1] if known is not None else None

    def _look_up(self, host: str) -> None:
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            entries = []
        found = dict.fromkeys(str(entry[4][0]) for entry in entries)
        allowed = [address for address in found if allows_host(self._network, address)]
        self._found[host] = (time.monotonic(), allowed)
