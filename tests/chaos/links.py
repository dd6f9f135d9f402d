"""The way between a fetch and its seeder, which can be cut: a link between two namespaces, or a relay on loopback."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import threading
from types import TracebackType
from typing import Protocol, Self

from tests.namespaces import Lan

_CHUNK = 1 << 16
_LOOPBACK = "127.0.0.1"


class Link(Protocol):
    """Where the three sides run, where the seeder listens (0: anywhere) and is reached, and what came over."""

    network: str
    port: int
    at_fetch: tuple[str, ...]
    at_seeder: tuple[str, ...]
    at_liar: tuple[str, ...]
    liar_address: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def to_seeder(self, port: int) -> str:
        """`HOST:PORT` for a seeder that listens on this port."""

    def cut(self, *, on: bool) -> None:
        """Cut the link, or mend it."""

    def came(self) -> int:
        """Bytes that went to the fetch so far."""


class Namespaces:
    """Three nodes of a network; the link of the fetch goes down and up."""

    network = "lan"
    port = 6881  # nobody else is on that node; any free port would be another one for each of its addresses

    def __init__(self) -> None:
        self._lan = Lan(3)
        seeder, fetch, liar = self._lan.nodes
        self._fetch = fetch
        self._seeder_address = seeder.address
        self.at_seeder, self.at_fetch, self.at_liar = (
            tuple(node.command(())) for node in (seeder, fetch, liar)
        )
        self.liar_address = liar.address

    def __enter__(self) -> Self:
        self._lan.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lan.__exit__(kind, error, trace)

    def to_seeder(self, port: int) -> str:
        return f"{self._seeder_address}:{port}"

    def cut(self, *, on: bool) -> None:
        self._lan.cut(1, on=on)

    def came(self) -> int:
        words = ["ip", "-n", self._fetch.namespace, "-j", "-s", "link", "show", "eth0"]
        shown = subprocess.run(words, capture_output=True, check=True, timeout=10).stdout
        return int(json.loads(shown)[0]["stats64"]["rx"]["bytes"])


class Relay:
    """Hands on TCP connections from a port of its own to the seeder's; a cut closes them all and takes no new ones."""

    network = "local"
    port = 0
    at_fetch: tuple[str, ...] = ()
    at_seeder: tuple[str, ...] = ()
    at_liar: tuple[str, ...] = ()
    liar_address = "127.0.0.2"  # another one than the seeder's: who lies is banned by address

    def __init__(self) -> None:
        self._target = self._port = self._came = 0
        self._cut = False
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._other: dict[socket.socket, socket.socket] = {}
        self._inward: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)
        self.cut(on=True)
        self._selector.close()

    def to_seeder(self, port: int) -> str:
        self._target = port
        return f"{_LOOPBACK}:{self._port}"

    def cut(self, *, on: bool) -> None:
        with self._lock:
            if on and self._listener is not None:
                self._close(self._listener)
                self._listener = None
                for one in list(self._other):
                    self._close(one)
                self._other.clear()
                self._inward.clear()
            elif not on and self._listener is None:
                self._listen()

    def came(self) -> int:
        return self._came

    def _listen(self) -> None:
        self._listener = socket.create_server((_LOOPBACK, self._port))
        self._port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _work(self) -> None:
        while not self._ended.is_set():
            ready = self._selector.select(0.05)
            with self._lock:
                for key, _ in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._other:
                        self._hand_on(key.fileobj)

    def _accept(self) -> None:
        assert self._listener is not None
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection((_LOOPBACK, self._target), timeout=5)
        except OSError:
            near.close()
            return
        self._other |= {near: far, far: near}
        self._inward.add(far)
        for one in (near, far):
            one.settimeout(5)
            self._selector.register(one, selectors.EVENT_READ)

    def _hand_on(self, source: socket.socket) -> None:
        target = self._other[source]
        try:
            data = source.recv(_CHUNK)
            if source in self._inward:
                self._came += len(data)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (source, target):
                self._other.pop(one, None)
                self._inward.discard(one)
                self._close(one)

    def _close(self, one: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one)
        one.close()
