"""What may be named as a source, and what a URL may do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.api.downloads import download
from weightshare.api.sources import resolve
from weightshare.errors import (
    DownloadError,
    MagnetError,
    MetainfoError,
    ReleaseNotFoundError,
    UnsignedError,
    UsageError,
    WeightshareError,
)
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import build_info, build_torrent, parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.swarm.networks import Network
from weightshare.units import BLOCK


def torrent_of(files: dict[str, bytes], name: str = "m") -> bytes:
    hashed = hashed_all(files, BLOCK)
    return build_torrent(
        build_info(name, BLOCK, hashed, hybrid=True), hashed, trackers=["http://127.0.0.1:1/announce"]
    )


SIGNED = torrent_of({"a": b"x" * 40_000, MANIFEST_NAME: b"{}"})
INFO = parse_info(
    build_info("m", BLOCK, hashed_all({"a": b"x" * 40_000, MANIFEST_NAME: b"{}"}, BLOCK), hybrid=True)
)


class Pages(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        where = {"/away": "http://example.org/x", "/loop": "/loop", "/file": "file:///etc/passwd"}
        if self.path in where:
            self.send_response(302)
            self.send_header("Location", where[self.path])
            self.end_headers()
        elif self.path == "/gone":
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SIGNED if self.path == "/m.torrent" else b"d" * 100_000)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def pages() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_torrent_by_path_and_by_url(tmp_path: Path) -> None:
    (tmp_path / "m.torrent").write_bytes(SIGNED)
    with pages() as base:
        for source in (str(tmp_path / "m.torrent"), f"{base}/m.torrent"):
            target = resolve(source, Network.LOCAL)
            assert target.v2_hash == INFO.v2_hash
            assert target.torrent is not None
            assert target.magnet.trackers == ("http://127.0.0.1:1/announce",)


def test_xs_gives_the_torrent_and_a_wrong_one_is_only_a_note() -> None:
    with pages() as base:
        magnet = Magnet(v2_hash=INFO.v2_hash, sources=(f"{base}/gone", f"{base}/m.torrent"))
        target = resolve(str(magnet), Network.LOCAL)
        assert target.torrent is not None
        other = resolve(str(Magnet(v2_hash=bytes(32), sources=(f"{base}/m.torrent",))), Network.LOCAL)
        assert other.torrent is None
        assert "another torrent" in other.notes[0]


def test_a_manifest_leads_to_the_torrent_beside_it(tmp_path: Path) -> None:
    from tests.builders_releases import release

    made = release()
    envelope = made.envelope.to_bytes() if hasattr(made.envelope, "to_bytes") else made.envelope
    (tmp_path / "m.json").write_bytes(envelope)
    with pytest.raises(UsageError, match="can't name its own info-hash"):
        resolve(str(tmp_path / "m.json"), Network.LOCAL)
    (tmp_path / "wrong.torrent").write_bytes(SIGNED)
    (tmp_path / "z.torrent").write_bytes(torrent_of({"a": b"x", MANIFEST_NAME: envelope}))
    target = resolve(str(tmp_path / "m.json"), Network.LOCAL)
    assert target.torrent is not None
    assert target.torrent.raw == (tmp_path / "z.torrent").read_bytes()


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("", MagnetError),
        ("hello", MagnetError),
        ("magnet:?dn=x", MagnetError),
        ("magnet:?xt=urn:btih:" + "a" * 40, UnsignedError),
        ("a" * 40, UnsignedError),
        ("nowhere/x.torrent", ReleaseNotFoundError),
        ("x.torrent", ReleaseNotFoundError),
        ("http://example.org/x.torrent", DownloadError),
    ],
)
def test_what_is_no_source(source: str, kind: type[WeightshareError]) -> None:
    with pytest.raises(kind) as caught:
        resolve(source, Network.LOCAL)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"hello", UsageError),
        (b"d", MetainfoError),
        (SIGNED[:-2], MetainfoError),
        (torrent_of({"a": b"x"}), UnsignedError),
    ],
)
def test_a_file_that_is_no_source(tmp_path: Path, data: bytes, kind: type[WeightshareError]) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(kind):
        resolve(str(tmp_path / "file"), Network.LOCAL)


@pytest.mark.parametrize("path", ["/away", "/loop", "/file", "/gone", "/large"])
def test_a_url_that_leads_nowhere_good(path: str) -> None:
    with pages() as base, pytest.raises(DownloadError) as caught:
        download(base + path, Network.LOCAL, limit=50_000)
    assert caught.value.facts["url"]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http:///x"])
def test_only_http_is_asked(url: str) -> None:
    with pytest.raises(DownloadError, match="only http"):
        download(url, Network.PUBLIC, limit=1)


def test_a_mangled_link_is_taken_and_it_is_said_how_it_was_repaired_and_what_is_lost() -> None:
    link = str(Magnet(v2_hash=INFO.v2_hash, name="m", trackers=("udp://tracker.example:80/announce",)))
    posted = "Here: <" + link.replace("%3A%2F%2F", "%3A%2F%http://2F").replace("&", "&amp;")
    target = resolve(f"{posted}&amp;tr=http%3A%2F%https://t.co/abc%3A80>", Network.LOCAL)
    assert target.magnet.v2_hash == INFO.v2_hash
    assert target.magnet.trackers == ("udp://tracker.example:80/announce",)
    repaired, lost = target.notes
    assert repaired.startswith("the link was repaired: ")
    assert "HTML entities" in repaired
    assert lost.startswith("the link has lost tr=http:/%https://t.co/abc:80: a short link")


def test_a_link_whose_hash_is_cut_short_is_refused_and_the_part_is_named() -> None:
    with pytest.raises(MagnetError, match="cannot be repaired: it has lost xt=urn:btmh:1220ab…: no whole"):
        resolve("magnet:?xt=urn:btmh:1220ab…&dn=m", Network.LOCAL)


def test_a_source_longer_than_any_file_name_is_no_file() -> None:
    with pytest.raises(MagnetError):
        resolve("a" * 5000, Network.LOCAL)
