"""Releases whose files a stand-in for the Hub has, and whose `.torrent` and manifest a plain web server has."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.builders_checkpoints import place
from tests.cli.helpers import result, weightshare
from tests.hub_server import HubServer, serve
from tests.integration.releases import Published
from tests.integration.running import Running
from weightshare.api import publishing
from weightshare.api.origin import Origin
from weightshare.api.results import HubStanding
from weightshare.content.home import Home

REPO = "acme/m7b"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def website(folder: Path) -> Iterator[str]:
    """A folder by HTTP on loopback; its URL without a slash at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Served:
    """A release, and who has what of it.

    Attributes:
        published: as its maintainer has it.
        hub: has its files and not its manifest.
        site: URL of a server that has its `.torrent` and its manifest.
        pages: the folder behind it.
    """

    published: Published
    hub: HubServer
    site: str
    pages: Path

    @property
    def env(self) -> Mapping[str, str]:
        """What leads to the Hub."""
        return {"HF_ENDPOINT": self.hub.url, "HF_HUB_OFFLINE": "0"}

    def fetch(self, home: Path, *words: str, status: int = 0) -> dict[str, Any]:
        """Fetch into `home/out` with the Hub in reach."""
        home.mkdir(exist_ok=True)
        said = ("fetch", self.published.magnet, "out", *self.published.trust, "--json", *words)
        done = weightshare(home, *said, more=self.env)
        assert done.returncode == status, done.stderr.decode() + done.stdout.decode()
        import json

        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def fetching(self, home: Path, *words: str) -> Running:
        """The same, still running."""
        home.mkdir(exist_ok=True)
        said = ("fetch", self.published.magnet, "out", *self.published.trust, "--json", *words)
        return Running(home, *said, more=self.env)


@contextmanager
def served(
    folder: Path, files: Mapping[str, bytes], *, piece_length: int, hybrid: bool = True, **more: Any
) -> Iterator[Served]:
    """Publish files, have the Hub serve them, and nobody seed them.

    Args:
        folder: for everything.
        files: the checkpoint.
        piece_length: bytes.
        hybrid: whether the torrent has v1 hashes too.
        **more: for the Hub.
    """
    model = place(folder / "model", files)
    home, pages = folder / "maintainer", folder / "pages"
    home.mkdir(exist_ok=True)
    result(home, "keys", "new", "acme")
    with ExitStack() as stack:
        hub = stack.enter_context(serve(model, REPO, large=64 << 10, **more))
        site = stack.enter_context(website(pages))
        made = publishing.publish(
            model,
            name=REPO,
            home=Home(home / "weightshare"),
            origin=Origin(HubStanding(REPO, hub.commit, False, "a test")),
            torrent_urls=[f"{site}/m7b.torrent"],
            piece_length=piece_length,
            v2_only=not hybrid,
            out=pages,
        )
        yield Served(Published(home, model, made.to_json()), hub, site, pages)
