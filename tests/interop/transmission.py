"""Transmission's daemon, steered by its RPC on loopback."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.interop.programs import Program, running
from tests.ports import free_port


class RefusedError(Exception):
    """It would not do that; its own word is the message."""


class Transmission:
    """A running one."""

    def __init__(self, program: Program, rpc: int, port: int, folder: Path) -> None:
        self.program = program
        self.port = port
        self.folder = folder
        self._rpc = f"http://127.0.0.1:{rpc}/transmission/rpc"
        self._session = ""

    @property
    def peer(self) -> str:
        """Its address, as `--peer` takes it."""
        return f"127.0.0.1:{self.port}"

    def call(self, method: str, **words: Any) -> dict[str, Any]:
        """One call; a first one is told which session it belongs to.

        Raises:
            RefusedError: the answer is not `success`.
        """
        body = json.dumps({"method": method, "arguments": words}).encode()
        request = urllib.request.Request(self._rpc, body, {"X-Transmission-Session-Id": self._session})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                said = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 409:
                    raise
                self._session = error.headers["X-Transmission-Session-Id"]
            return self.call(method, **words)
        if said["result"] != "success":
            raise RefusedError(said["result"])
        return dict(said["arguments"])

    def answers(self) -> bool:
        """Whether its RPC is up."""
        try:
            return bool(self.call("session-get"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def load(self, torrent: Path) -> None:
        """Add a torrent and start it.

        Raises:
            RefusedError: it does not take it for a torrent.
        """
        self.call("torrent-add", metainfo=base64.b64encode(torrent.read_bytes()).decode())

    def is_whole(self) -> bool:
        """Whether it has all of its one torrent."""
        fields = ["percentDone", "leftUntilDone", "status", "error", "errorString", "metadataPercentComplete"]
        (torrent,) = self.call("torrent-get", fields=fields)["torrents"]
        assert torrent["error"] in (0, 1, 2), torrent  # 1 and 2 are what a tracker said
        checking = torrent["status"] in (1, 2)
        return bool(torrent["percentDone"] == 1 and not torrent["leftUntilDone"] and not checking)


@contextmanager
def transmission(home: Path) -> Iterator[Transmission]:
    """Run it with nothing loaded."""
    rpc, port = free_port(), free_port()
    folder, kept = home / "files", home / "config"
    for path in (folder, kept):
        path.mkdir(parents=True, exist_ok=True)
    settings = {
        "bind-address-ipv4": "127.0.0.1",
        "bind-address-ipv6": "::1",
        "dht-enabled": False,
        "download-dir": str(folder),
        "lpd-enabled": False,
        "peer-port": port,
        "pex-enabled": False,
        "port-forwarding-enabled": False,
        "rpc-bind-address": "127.0.0.1",
        "rpc-port": rpc,
        "rpc-whitelist": "127.0.0.1",
        "utp-enabled": False,
    }
    (kept / "settings.json").write_text(json.dumps(settings))
    with running(["transmission-daemon", "--foreground", "--config-dir", kept], home) as program:
        client = Transmission(program, rpc, port, folder)
        program.until(client.answers, "its RPC")
        yield client
