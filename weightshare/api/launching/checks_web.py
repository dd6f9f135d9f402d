"""Whether the web seeds and `.torrent` URLs of a release hold what they should, and serve ranges of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from weightshare.api.doctoring.checks import Asked, Check, fail, ok, skip, warn
from weightshare.api.downloads import Part, ask_part, download
from weightshare.api.launching.standing import Standing
from weightshare.errors import DownloadError, IntegrityError
from weightshare.manifest.merkle import leaves_of, root_of, split_layer
from weightshare.manifest.metainfo import Torrent, parse_torrent
from weightshare.swarm.networks import allowed_urls
from weightshare.units import BLOCK, MAX_TORRENT, format_size

Job = tuple[Callable[[], Check], Callable[[], Check]]

_LINE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_SEED, _SOURCE = "web seed", ".torrent URL"


@dataclass(frozen=True, slots=True)
class Sample:
    """A piece of a file that can be told by its hash.

    Attributes:
        path: the file, in the release.
        size: of the file.
        offset: where the piece begins.
        length: its bytes.
        root: its hash, a node of the file's tree.
        width: leaves that the tree above the piece has.
    """

    path: str
    size: int
    offset: int
    length: int
    root: bytes
    width: int

    def proves(self, data: bytes) -> bool:
        """Whether these are the bytes."""
        return len(data) == self.length and root_of(leaves_of(data), width=self.width) == self.root


def sample_of(torrent: Torrent) -> Sample | None:
    """A piece in the second half of the largest file, where one that ignores ranges is found out; None of nothing."""
    info = torrent.info
    largest = max(info.files, key=lambda file: file.size, default=None)
    if largest is None or not largest.size or largest.pieces_root is None:
        return None
    if largest.size <= info.piece_length:
        leaves = -(-largest.size // BLOCK)
        width = 1 << max(0, leaves - 1).bit_length()
        return Sample(largest.path, largest.size, 0, largest.size, largest.pieces_root, width)
    layer = split_layer(torrent.piece_layers.get(largest.pieces_root, b""))
    number = -(-len(layer) // 2)
    if not 0 < number < len(layer):
        return None
    offset = number * info.piece_length
    length = min(info.piece_length, largest.size - offset)
    return Sample(largest.path, largest.size, offset, length, layer[number], info.piece_length // BLOCK)


def jobs(standing: Standing, asked: Asked) -> list[Job]:
    """A check for each web seed and each URL of the `.torrent`, with what to say if it does not end in time."""
    if standing.embargo is not None:
        return []
    found: list[Job] = []
    sample = sample_of(standing.torrent)
    for url in standing.magnet.web_seeds:
        found.append((_seed_job(url, standing, sample, asked), _late(_SEED, url)))
    for url in standing.magnet.sources:
        found.append((_source_job(url, standing, asked), _late(_SOURCE, url)))
    return found


def missing(standing: Standing) -> Sequence[Check]:
    """What is said of a release that names no web seed, or no URL of its `.torrent`."""
    if standing.embargo is not None:
        return (skip(_SEED, "under embargo, the link names none"),)
    found = []
    if not standing.magnet.web_seeds:
        found.append(
            warn(_SEED, "none", "With --web-seed the first hour does not hang on your uplink alone.")
        )
    if not standing.magnet.sources:
        found.append(
            warn(
                _SOURCE,
                "none",
                "With --torrent-url a link works before the first peer is found, and there is a URL to post.",
            )
        )
    return found


def judge(answer: Part, sample: Sample, url: str) -> Check:
    """What an answer to a question for the sample says of the server.

    Args:
        answer: what came.
        sample: what was asked for.
        url: the web seed, for the finding.
    """
    host = _host(url)
    where = f"{host}: {sample.path}"
    if answer.status == 200 and sample.length < sample.size:
        return fail(
            _SEED,
            f"{where}: it ignores ranges: 200 and the whole file, where 206 and a part was asked for",
            "Clients need ranges. Put the files on a server or CDN that has them, or leave it out.",
        )
    if answer.status not in (200, 206):
        return fail(
            _SEED,
            f"{where}: the answer was {answer.status}",
            f"Clients ask for {{URL}}{{name}}/{{path}} where the URL ends in a slash: {url}",
        )
    said = _LINE.fullmatch(answer.content_range.strip())
    if answer.status == 206:
        expected = (sample.offset, sample.offset + sample.length - 1)
        if said is None or (int(said[1]), int(said[2])) != expected:
            return fail(
                _SEED,
                f"{where}: wrong Content-Range: {answer.content_range or 'none'!r}, expected bytes "
                f"{expected[0]}-{expected[1]}/{sample.size}",
                "It would give clients bytes of another place; they throw them away.",
            )
        if said[3] not in ("*", str(sample.size)):
            return fail(
                _SEED, f"{where} has {int(said[3]):,} bytes there, {sample.size:,} in the release", _OTHER
            )
    if not sample.proves(answer.body):
        return fail(
            _SEED,
            f"{where}: other bytes than were signed, at {sample.offset:,}",
            _OTHER,
            code=IntegrityError.exit_code,
        )
    moved = _host(answer.url)
    by = f", redirected to {moved}" if moved != host else ""
    return ok(_SEED, f"{where}: {format_size(sample.length)} from {sample.offset:,} are right{by}")


_OTHER = "Put the very files of this release there."


def _seed_job(url: str, standing: Standing, sample: Sample | None, asked: Asked) -> Callable[[], Check]:
    def check() -> Check:
        if sample is None:
            return skip(_SEED, f"{_host(url)}: no piece of the release can be told by its hash")
        if not allowed_urls(asked.network, [url]):
            return skip(_SEED, f"{_host(url)} lies outside the network allowed ({asked.network})")
        base = url if url.endswith("/") else f"{url}/"
        full = f"{base}{quote(standing.torrent.info.name)}/{quote(sample.path)}"
        try:
            answer = ask_part(
                full, asked.network, offset=sample.offset, length=sample.length, timeout=asked.patience
            )
        except DownloadError as error:
            return fail(_SEED, error.message, "Check that the server is up and the URL is right.")
        return judge(answer, sample, url)

    return check


def _source_job(url: str, standing: Standing, asked: Asked) -> Callable[[], Check]:
    def check() -> Check:
        if not allowed_urls(asked.network, [url]):
            return skip(_SOURCE, f"{_host(url)} lies outside the network allowed ({asked.network})")
        try:
            raw = download(url, asked.network, limit=MAX_TORRENT, timeout=asked.patience)
            found = parse_torrent(raw)
        except DownloadError as error:
            return fail(_SOURCE, error.message, "Put the .torrent that `publish --out` writes there.")
        except IntegrityError as error:
            return fail(
                _SOURCE,
                f"{url} is no .torrent: {error.message}",
                "Put the .torrent that `publish --out` writes there.",
                code=error.exit_code,
            )
        if found.info.v2_hash != standing.magnet.v2_hash:
            return fail(
                _SOURCE,
                f"{url} is another torrent: info-hash {found.info.v2_hash.hex()[:12]}…, this release's is "
                f"{standing.record.info_hash_v2[:12]}…",
                "Put the .torrent of this very release there; publishing again makes another one.",
                code=IntegrityError.exit_code,
            )
        return ok(_SOURCE, f"{url} is the release's own")

    return check


def _late(name: str, url: str) -> Callable[[], Check]:
    return lambda: fail(name, f"{_host(url)} did not answer in time", "Check that the server is up.")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or url
