"""rtorrent without a terminal, steered by XML-RPC over a socket in its own home."""

from __future__ import annotations

import shutil
import socket
import tempfile
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.interop.programs import Program, running
from tests.ports import free_port


class RTorrent:
    """A running one."""

    def __init__(self, program: Program, control: Path, port: int, folder: Path) -> None:
        self.program = program
        self.port = port
        self.folder = folder
        self._control = control
        self._key = ""

    @property
    def peer(self) -> str:
        """Its address, as `--peer` takes it."""
        return f"127.0.0.1:{self.port}"

    def call(self, method: str, *words: Any) -> Any:
        """One XML-RPC call, in the SCGI frame that it wants."""
        body = xmlrpc.client.dumps(words, method).encode()
        head = b"CONTENT_LENGTH\0%d\0SCGI\x001\0" % len(body)
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(10)
            talk.connect(str(self._control))
            talk.sendall(b"%d:%s,%s" % (len(head), head, body))
            answer = b""
            while more := talk.recv(1 << 16):
                answer += more
        return xmlrpc.client.loads(answer.partition(b"\r\n\r\n")[2])[0][0]

    def load(self, torrent: Path) -> None:
        """Add a torrent and start it."""
        self.call("load.start", "", str(torrent))
        (self._key,) = self.program.until(lambda: self.call("download_list"), "its torrent")

    def answers(self) -> bool:
        """Whether its control socket is up."""
        try:
            return bool(self.call("system.client_version"))
        except OSError:
            return False

    def is_checked(self) -> bool:
        """Whether it knows what of its torrent it has."""
        return bool(self.call("d.is_hash_checked", self._key))

    def is_whole(self) -> bool:
        """Whether it has all of its torrent, pads included."""
        return self.is_checked() and bool(self.call("d.complete", self._key))

    def until_whole(self) -> None:
        """Wait for it to have everything, by download or by its own check."""
        self.program.until(self.is_whole, "all of it")

    def pieces(self) -> tuple[int, int]:
        """How many pieces it has, and of how many."""
        return int(self.call("d.completed_chunks", self._key)), int(self.call("d.size_chunks", self._key))


@contextmanager
def rtorrent(home: Path) -> Iterator[RTorrent]:
    """Run it with nothing loaded."""
    port = free_port()
    folder, kept = home / "files", home / "session"
    for path in (folder, kept):
        path.mkdir(parents=True, exist_ok=True)
    sockets = Path(tempfile.mkdtemp(prefix="rt"))  # a socket's path has 107 bytes at most
    (home / ".rtorrent.rc").write_text(
        f"""system.daemon.set = true
session.path.set = "{kept}"
directory.default.set = "{folder}"
network.scgi.open_local = "{sockets}/s"
network.bind_address.set = 127.0.0.1
network.port_range.set = {port}-{port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = no
"""
    )
    try:
        with running(["rtorrent"], home) as program:
            client = RTorrent(program, sockets / "s", port, folder)
            program.until(client.answers, "its control socket")
            yield client
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
