"""qBittorrent without a window, steered by its web API on loopback."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.interop.programs import Program, running
from tests.ports import free_port

PREFERS, DEMANDS, REFUSES = 0, 1, 2
"""What it can be told of encrypted handshakes."""

_WHOLE = ("uploading", "stalledUP", "queuedUP", "forcedUP")


class QBittorrent:
    """A running one."""

    def __init__(self, program: Program, web: int, port: int, folder: Path) -> None:
        self.program = program
        self.port = port
        self.folder = folder
        self._web = f"http://127.0.0.1:{web}/api/v2/"

    @property
    def peer(self) -> str:
        """Its address, as `--peer` takes it."""
        return f"127.0.0.1:{self.port}"

    def ask(self, what: str, **form: str) -> str:
        """Call the web API; POST where there is something to say."""
        body = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(self._web + what, body, timeout=10) as answer:
            return str(answer.read().decode())

    def torrents(self) -> list[dict[str, Any]]:
        """What it says of each torrent."""
        found = json.loads(self.ask("torrents/info"))
        assert isinstance(found, list)
        return found

    def answers(self) -> bool:
        """Whether its web interface is up."""
        try:
            return bool(self.ask("app/version"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def is_whole(self) -> bool:
        """Whether it has all of its one torrent and says that it seeds it."""
        torrents = self.torrents()
        failed = [torrent for torrent in torrents if torrent["state"] in ("error", "missingFiles")]
        assert not failed, (failed, self.ask("log/main"))
        return bool(torrents) and all(t["progress"] == 1 and t["state"] in _WHOLE for t in torrents)

    def until_whole(self) -> None:
        """Wait for it to have everything, by download or by its own check."""
        self.program.until(self.is_whole, "all of it")

    def uploaded(self) -> int:
        """Payload bytes that it gave since it started."""
        (torrent,) = self.torrents()
        return int(torrent["uploaded_session"])

    def add_peer(self, peer: str) -> None:
        """Have it dial a peer."""
        (torrent,) = self.torrents()
        self.ask("torrents/addPeers", hashes=torrent["hash"], peers=peer)


@contextmanager
def qbittorrent(home: Path, source: str | Path, *, encryption: int = PREFERS) -> Iterator[QBittorrent]:
    """Run it with one torrent, given as on its command line: a path or a magnet link."""
    web, port = free_port(), free_port()
    folder = home / "files"
    folder.mkdir(parents=True, exist_ok=True)
    profile = home / "profile"
    settings = profile / "qBittorrent" / "config" / "qBittorrent.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"""[LegalNotice]
Accepted=true

[BitTorrent]
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Interface=lo
Session\\InterfaceName=lo
Session\\InterfaceAddress=127.0.0.1
Session\\Port={port}
Session\\Encryption={encryption}
Session\\MultiConnectionsPerIp=true
Session\\ResolvePeerCountries=false

[Network]
PortForwardingEnabled=false

[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\Port={web}
WebUI\\LocalHostAuth=false
WebUI\\UseUPnP=false
Connection\\UPnP=false
"""
    )
    words = ["qbittorrent-nox", f"--profile={profile}", f"--save-path={folder}", "--skip-dialog=true", source]
    with running(words, home) as program:
        client = QBittorrent(program, web, port, folder)
        program.until(client.answers, "its web interface")
        program.until(client.torrents, "its torrent")
        yield client
