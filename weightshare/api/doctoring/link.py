"""Checks of a link, part by part: what each says, and whether whoever it names answers."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from urllib.parse import quote, urlsplit

from weightshare.api.doctoring.checks import Asked, Check, Outcome, fail, ok, skip, together, warn
from weightshare.api.doctoring.trackers import TrackerSilentError, ask
from weightshare.api.downloads import download, probe
from weightshare.api.sources import is_file, parse, resolve
from weightshare.errors import DownloadError, IntegrityError, TrustError, WeightshareError
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.magnet_repair import repair
from weightshare.manifest.metainfo import parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.text import escape
from weightshare.swarm.engine_probe import listening
from weightshare.swarm.networks import Network, allowed_trackers, allowed_urls, allowed_web_seeds, allows_host
from weightshare.trust.publishers import KnownPublishers
from weightshare.units import MAX_TORRENT, format_size

_SPARE = 2.0
_DHT_SECONDS = 20.0
_Job = tuple[Callable[[], Check], Callable[[], Check]]


def checks(asked: Asked) -> Iterator[Check]:
    """What each part of the link is, and whether it answers; last, the link itself, ready to be copied.

    A tracker or seed that does not answer is a warning, as a swarm lives with fewer; that nothing at all answers is a
    failure.
    """
    text = asked.source.strip()
    state = "whole"
    if text.lower().startswith(("http://", "https://")) or is_file(text):
        try:
            target = resolve(text, asked.network)
        except WeightshareError as error:
            yield fail("torrent", error.message, error.hint, code=error.exit_code)
            return
        magnet = target.magnet
        if target.torrent is not None:
            info = target.torrent.info
            yield ok(
                "torrent",
                f"{len(info.files):,} files, {format_size(sum(file.size for file in info.files))}",
            )
    else:
        repaired = repair(text)
        try:
            magnet = parse(repaired)
        except WeightshareError as error:
            yield fail("link", error.message, error.hint, code=error.exit_code)
            return
        if repaired.changes or repaired.dropped:
            state = "what is left of it" if repaired.dropped else "repaired"
        yield from _repairs(repaired.changes, repaired.dropped)
    yield from explained(magnet, KnownPublishers.load(asked.home.known_publishers))
    answered = []
    for check in asking(magnet, asked):
        answered.append(check)
        yield check
    yield from _ways_in(answered)
    yield Check("link", Outcome.OK, f"{state}; quote it, as a shell acts on its `&`", show=f"'{magnet}'")


def _repairs(changes: Sequence[str], dropped: Sequence[str]) -> Iterator[Check]:
    if changes:
        yield warn(
            "repair", f"the link was mangled on its way: {', '.join(changes)}", "Pass on the one below."
        )
    for part in dropped:
        yield warn("lost", part, "Copy the link anew from where it was first posted, if it is whole there.")


def explained(magnet: Magnet, known: KnownPublishers) -> Iterator[Check]:
    """What the link says of the release."""
    if magnet.v2_hash is not None:
        # Alone on its line, as nobody could copy it if it were broken.
        yield Check("info-hash v2", Outcome.OK, "SHA-256; it names the release", show=magnet.v2_hash.hex())
    if magnet.v1_hash is not None:
        use = "(SHA-1, for older clients)" if magnet.v2_hash is not None else "(SHA-1)"
        yield ok("info-hash v1", f"{magnet.v1_hash.hex()} {use}")
    if magnet.v2_hash is None:
        yield warn(
            "proof",
            "no v2 info-hash (xt=urn:btmh:1220…), so no signed release can be proven by this link alone",
            "Ask the publisher for the link that `weightshare publish` prints.",
        )
    yield ok("name", escape(magnet.name)) if magnet.name else skip("name", "the link gives none (dn=)")
    if magnet.publisher is None:
        yield skip("publisher", "the link names none (x.wsk=); the manifest will")
        return
    fingerprint = "SHA256:" + base64.b64encode(magnet.publisher).decode("ascii").rstrip("=")
    pin = known.find(fingerprint)
    if pin is not None:
        yield ok("publisher", f"{pin.name}, whom you know: {fingerprint}")
    else:
        yield warn(
            "publisher",
            f"{fingerprint}, whom you do not know; anybody can write a link",
            "Compare it with one that the publisher shows, then: weightshare trust add NAME KEY",
        )


def asking(magnet: Magnet, asked: Asked) -> Iterator[Check]:
    """Each tracker, seed, source and peer asked, all at the same time; each told as it answers."""
    jobs: list[_Job] = []
    hashes = hashes_of(magnet)
    for kind, urls, allowed in (
        ("tracker", magnet.trackers, allowed_trackers),
        ("web seed", magnet.web_seeds, allowed_web_seeds),
        ("torrent", magnet.sources, allowed_urls),
    ):
        within = set(allowed(asked.network, urls))
        for url in urls:
            if url not in within:
                yield skip(kind, f"{_where(url)} lies outside the network allowed ({asked.network})")
            elif kind == "tracker" and urlsplit(url).scheme.lower() in ("ws", "wss"):
                yield skip(kind, f"{_where(url)} is for browsers (WebTorrent); not asked")
            else:
                checked = {
                    "tracker": partial(tracker, url, hashes, asked),
                    "web seed": partial(web_seed, url, magnet.name, asked),
                    "torrent": partial(_source, url, magnet, asked),
                }[kind]
                jobs.append(
                    (checked, partial(warn, kind, f"{_where(url)}: no answer in {asked.patience:.0f} s"))
                )
    for host, port in (*magnet.peers, *asked.peers):
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not allows_host(asked.network, host):
            yield skip("peer", f"{shown} lies outside the network allowed ({asked.network})")
        else:
            jobs.append(
                (partial(_peer, host, port, shown, asked), partial(warn, "peer", f"{shown}: no answer"))
            )
    if not (magnet.trackers or magnet.web_seeds or magnet.sources or magnet.peers):
        yield skip("ways", "the link names no tracker, seed or peer; only the DHT can find some")
    longest = max(asked.patience, _DHT_SECONDS if asked.network is Network.PUBLIC else 0.0)
    if asked.network is Network.PUBLIC:
        jobs.append((partial(dht, hashes, asked), partial(warn, "DHT", "no answer")))
    else:
        yield dht(hashes, asked)
    yield from together(jobs, longest + _SPARE)


def hashes_of(magnet: Magnet) -> tuple[bytes, ...]:
    """What trackers and the DHT know a torrent by: the v1 info-hash, and the v2 one's first 20 bytes (BEP 52)."""
    return tuple(one[:20] for one in (magnet.v1_hash, magnet.v2_hash) if one is not None)


def tracker(url: str, hashes: Sequence[bytes], asked: Asked) -> Check:
    """One tracker."""
    try:
        known = ask(url, hashes, asked.network, asked.patience)
    except TrackerSilentError as silent:
        return warn("tracker", f"{_where(url)}: {silent.words}", url=url, answers=silent.heard)
    facts = {"seeders": known.seeders, "leechers": known.leechers, "seconds": round(known.seconds, 3)}
    peers = f"{known.seeders:,} seeding, {known.leechers:,} others"
    if not known.seeders and not known.leechers:
        peers = "knows nobody who has it"
    took = f"{known.seconds * 1000:.0f} ms"
    return ok("tracker", f"{_where(url)} answers in {took}: {peers}", url=url, answers=True, **facts)


def web_seed(url: str, name: str, asked: Asked) -> Check:
    """One web seed (BEP 19): whether it is there and gives ranges of a file."""
    file = f"{url}{quote(name)}/{MANIFEST_NAME}" if url.endswith("/") and name else url
    try:
        answer = probe(file, asked.network, timeout=asked.patience, claimed=True)
    except DownloadError as error:
        status = error.facts.get("status")
        if status == 404 and file != url:
            return warn(
                "web seed", f"{_where(url)} answers, but has no {quote(name)}/{MANIFEST_NAME}", url=url
            )
        return warn("web seed", f"{_where(url)}: {_reason(error)}", url=url)
    if answer.status != 206:
        return warn(
            "web seed",
            f"{_where(url)} sends whole files where a range is asked for (HTTP {answer.status})",
            "Serve the files with a server that honours Range, or leave it out of the link.",
            url=url,
        )
    return ok("web seed", f"{_where(url)} answers and honours ranges", url=url)


def _source(url: str, magnet: Magnet, asked: Asked) -> Check:
    """One `.torrent` that the link says is there (`xs=`)."""
    try:
        info = parse_torrent(
            download(url, asked.network, limit=MAX_TORRENT, timeout=asked.patience, claimed=True)
        ).info
    except DownloadError as error:
        return warn("torrent", f"{_where(url)}: {_reason(error)}", url=url)
    except (IntegrityError, TrustError) as error:
        return warn("torrent", f"{_where(url)} is no sound .torrent: {error.message}", url=url)
    same = info.v2_hash == magnet.v2_hash if magnet.v2_hash is not None else info.v1_hash == magnet.v1_hash
    if not same:
        return warn("torrent", f"{_where(url)} is another torrent than the link's", "Do not use it.", url=url)
    size = format_size(sum(file.size for file in info.files))
    return ok("torrent", f"{_where(url)} is the link's: {len(info.files):,} files, {size}", url=url)


def _peer(host: str, port: int, shown: str, asked: Asked) -> Check:
    reason = "its name has no address"
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:4]:
            if not allows_host(asked.network, str(address[0])):
                reason = "it lies outside the network allowed"
                continue
            with socket.socket(family, kind) as line:
                line.settimeout(asked.patience / 2)
                line.connect(address)
                return ok("peer", f"{shown} takes connections")
    except socket.gaierror:
        reason = "its name is not known to DNS"
    except TimeoutError:
        reason = "no answer"
    except OSError as error:
        reason = error.strerror or str(error)
    return warn("peer", f"{shown}: {reason}")


def dht(hashes: Sequence[bytes], asked: Asked) -> Check:
    """Whether the DHT knows peers of the torrent."""
    if asked.network is not Network.PUBLIC:
        return skip("DHT", f"not used on this network ({asked.network})")
    try:
        with listening(asked.network, port=0, dht_nodes=asked.dht_nodes) as engine:
            found = engine.look(_DHT_SECONDS, hashes)
    except WeightshareError as error:
        return warn("DHT", error.message, error.hint)
    peers = set[tuple[str, int]]().union(*found.peers.values())
    if not found.dht_nodes:
        return warn("DHT", "none of its nodes answers", "A firewall may hold back UDP; try another network.")
    if not peers:
        return warn("DHT", f"entered ({found.dht_nodes:,} nodes), but nobody has announced the torrent there")
    return ok("DHT", f"names {len(peers):,} peers", peers=len(peers))


def _ways_in(answered: Sequence[Check]) -> Iterator[Check]:
    """Whether anything that could lead to a peer or to the metadata has answered."""
    tried = [check for check in answered if check.outcome is not Outcome.SKIP]
    good = [check for check in tried if check.outcome is Outcome.OK]
    if tried and not good:
        yield fail(
            "ways",
            "nothing that could lead to the release has answered",
            "Try again later, or ask the publisher for a newer link; --peer HOST:PORT adds a peer you know.",
        )


def _where(url: str) -> str:
    """A URL without what may be a passkey: scheme, host and port."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that is no IPv6 address
        return escape(url[:60])
    return escape(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")


def _reason(error: DownloadError) -> str:
    return error.message.rpartition("could not be fetched: ")[2].rstrip(".")


__all__ = ["asking", "checks", "dht", "explained", "hashes_of", "tracker", "web_seed"]
