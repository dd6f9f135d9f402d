"""Networks of our own: nodes in Linux network namespaces on one bridge, with links of a chosen rate.

The bridge stands in a namespace too, so the machine's own network is never touched. Addresses are from 198.18.0.0/15,
which is set aside for such measurements (RFC 2544) and which no peer takes for its own household.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.waiting import until

BURST = "128kb"
LATENCY = "50ms"  # what may wait in a link's queue
GATEWAY, GATEWAY6 = "198.18.255.254", "fd12:5742::fffe"

# Puts a folder over a node's /etc, for one command; `ip netns exec` has given it a table of mounts of its own. What it
# offers by itself, /etc/netns, fails where the machine has no resolv.conf to cover, and leaves it its nsswitch.conf.
_OVER_ETC = 'mount --bind "$0" /etc && exec "$@"'

_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the network: its namespace, its address there, and its own /etc where it has one."""

    namespace: str
    address: str
    etc: Path | None = None

    def command(self, words: Sequence[str]) -> list[str]:
        """The words that run `words` on this node; keeps the environment."""
        inside = ["ip", "netns", "exec", self.namespace]
        if self.etc is not None:
            inside += ["sh", "-c", _OVER_ETC, str(self.etc)]
        return [*inside, *words]


def missing() -> str:
    """Why there can be no namespaces here, empty if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces want root"
    if not shutil.which("ip") or not shutil.which("tc"):
        return "iproute2 is not installed"
    probe = f"ws-{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine lets nobody make network namespaces"
    _ip("netns", "del", probe)
    return ""


class Lan:
    """Nodes on one bridge, as a context; gone when it ends.

    Args:
        count: how many nodes.
        rate: of each link, each way, in `tc`'s words (`200mbit`); empty for no limit.
        default_route: whether nodes have a route to everywhere, over IPv4 and IPv6, by way of the bridge (where
            everything ends).
        apart: give each node an address far from the others': a DHT takes few nodes from one corner of the net.
        multicast: whether it is passed on, so that nodes can find each other by LSD; without, IPv6 between them ends.
        resolver: the name server that nodes ask; empty for the machine's own.
        hosts: addresses by name, for the nodes' list of hosts; empty for the machine's own.
        delay: seconds that each frame takes from a node to the bridge, so that a round trip takes twice that; by a
            process for each node (`delaying_relay.py`), which is for low rates.
    """

    def __init__(
        self,
        count: int,
        *,
        rate: str = "",
        default_route: bool = False,
        apart: bool = False,
        multicast: bool = True,
        resolver: str = "",
        hosts: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        self._prefix = f"ws-{os.getpid()}-{next(_serial)}"
        self.hub = f"{self._prefix}-hub"
        self._names = _Names(resolver, hosts or {}) if resolver or hosts else None
        etc = self._names.etc if self._names is not None else None
        self.nodes = [
            Node(f"{self._prefix}-n{number}", _address(number, apart=apart), etc) for number in range(count)
        ]
        self._multicast = multicast
        self._rate = rate
        self._default_route = default_route
        self._delay = delay
        self._relays: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            _ip("netns", "add", self.hub)
            self._hub("ip", "link", "set", "lo", "up")
            snooping = "1" if self._multicast else "0"
            self._hub("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", snooping)
            self._hub("ip", "addr", "add", f"{GATEWAY}/15", "dev", "br0")
            self._hub("ip", "addr", "add", f"{GATEWAY6}/64", "dev", "br0", "nodad")
            self._hub("ip", "link", "set", "br0", "up")
            for number, node in enumerate(self.nodes):
                self._join(number, node)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for relay in self._relays:
            relay.kill()
            relay.communicate()
        for name in (*(node.namespace for node in self.nodes), self.hub):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        if self._names is not None:
            self._names.clear()

    def cut(self, number: int, *, on: bool = True) -> None:
        """Cut a node's link, or with `on=False` mend it."""
        self._hub("ip", "link", "set", f"v{number}", "down" if on else "up")

    def _join(self, number: int, node: Node) -> None:
        _ip("netns", "add", node.namespace)
        if self._delay:
            self._relay(number, node)
        else:
            self._hub(
                *("ip", "link", "add", f"v{number}", "type", "veth"),
                *("peer", "name", "eth0", "netns", node.namespace),
            )
        self._hub("ip", "link", "set", f"v{number}", "master", "br0", "up")
        if not self._multicast:
            self._hub("ip", "link", "set", f"v{number}", "type", "bridge_slave", "mcast_flood", "off")
        inside = node.command
        _run(inside(["ip", "addr", "add", f"{node.address}/15", "dev", "eth0"]))
        _run(inside(["ip", "link", "set", "lo", "up"]))
        _run(inside(["ip", "link", "set", "eth0", "up"]))
        if self._default_route:
            _run(inside(["ip", "route", "add", "default", "via", GATEWAY]))
            _run(inside(["ip", "addr", "add", f"fd12:5742::{number + 2:x}/64", "dev", "eth0", "nodad"]))
            _run(inside(["ip", "route", "add", "default", "via", GATEWAY6]))
        if self._rate:
            shape = ["root", "tbf", "rate", self._rate, "burst", BURST, "latency", LATENCY]
            _run(inside(["tc", "qdisc", "add", "dev", "eth0", *shape]))
            self._hub("tc", "qdisc", "add", "dev", f"v{number}", *shape)

    def crossed(self) -> list[tuple[int, int]]:
        """The bytes, headers included, that each node has sent and received so far."""
        links = json.loads(_run(["ip", "-n", self.hub, "-s", "-j", "link"]))
        by_name = {link["ifname"]: link["stats64"] for link in links}
        each = (by_name[f"v{number}"] for number in range(len(self.nodes)))
        return [(stats["rx"]["bytes"], stats["tx"]["bytes"]) for stats in each]

    def dropped(self) -> int:
        """Frames that did not fit into the queues of the links so far."""
        places = [self.hub, *(node.namespace for node in self.nodes)]
        queues = (json.loads(_run(["tc", "-n", place, "-s", "-j", "qdisc"])) for place in places)
        return sum(queue["drops"] for queues_there in queues for queue in queues_there)

    def _relay(self, number: int, node: Node) -> None:
        program = str(Path(__file__).with_name("delaying_relay.py"))
        words = [sys.executable, program, node.namespace, self.hub, f"v{number}", str(self._delay)]
        relay = subprocess.Popen(words, stdout=subprocess.PIPE)
        self._relays.append(relay)
        assert relay.stdout is not None
        if not relay.stdout.readline():
            raise OSError(f"the relay of node {number} did not start")

    def _hub(self, *words: str) -> None:
        _run(["ip", "netns", "exec", self.hub, *words])


class _Names:
    """A copy of the machine's /etc in which names are looked up in one list and by one server, and nowhere else."""

    def __init__(self, resolver: str, hosts: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="weightshare-etc-"))
        self.etc = self._folder / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True)
        texts = {"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n"}
        if resolver:
            texts["resolv.conf"] = f"nameserver {resolver}\noptions timeout:1 attempts:1\n"
        if hosts:
            texts["hosts"] = "".join(f"{address} {name}\n" for name, address in hosts.items())
        for name, text in texts.items():
            (self.etc / name).unlink(missing_ok=True)  # it may lead to a file of the machine's
            (self.etc / name).write_text(text)

    def clear(self) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Capture:
    """What leaves a node; the lines are tcpdump's, without times and names.

    ICMPv6 is left out: the kernel sends it by itself (who is there, who is the router, who listens to what). Everything
    else is somebody's packet, ARP included, which comes before the first one to an IPv4 address.
    """

    log: Path

    def lines(self) -> list[str]:
        """Everything that has left so far."""
        return self.log.read_text().splitlines()

    def destinations(self) -> set[str]:
        """The addresses that packets have left for so far, and `ARP` where somebody was looked for."""
        found = set()
        for line in self.lines():
            match = re.search(r" > ([0-9a-f.:]+):? ", line)
            host = match[1].rstrip(":") if match else "ARP" if line.startswith("ARP") else line
            found.add(re.sub(r"\.[0-9]+$", "", host) if host.count(".") in (1, 4) else host)
        return found


@contextmanager
def capture(node: Node) -> Iterator[Capture]:
    """Write down what leaves a node by its link, while inside."""
    with tempfile.TemporaryDirectory(prefix="weightshare-capture-") as folder:
        log, words = Path(folder) / "packets", Path(folder) / "words"
        tcpdump = ["tcpdump", "-i", "eth0", "-Q", "out", "-n", "-t", "-l", "--immediate-mode"]
        tcpdump.append("not icmp6 and not ip6 proto 0")
        with log.open("wb") as out, words.open("wb") as err:
            process = subprocess.Popen(
                node.command(tcpdump),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                until(lambda: "listening on" in words.read_text(), "tcpdump to listen", within=10)
                yield Capture(log)
            finally:
                process.terminate()
                process.wait(10)


def _address(number: int, *, apart: bool) -> str:
    if apart:
        return f"198.{18 + number % 2}.{7 + 11 * number % 240}.{2 + number}"
    return f"198.18.{(number + 2) // 250}.{(number + 2) % 250}"


def _ip(*words: str) -> None:
    _run(["ip", *words])


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
