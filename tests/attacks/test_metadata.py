"""Metadata that is a bomb, a lie, or none at all, from a peer that speaks the protocol and nothing else.

Exit 4 where the link itself names the bomb; exit 5 within the time allowed where only a peer lies, since another one
may be honest.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.attacks.arena import Arena, Outcome
from tests.attacks.forge import Release, release
from tests.attacks.metadata_peer import MetadataPeer
from tests.integration.waiting import until
from weightshare.manifest import bencode
from weightshare.manifest.magnet import Magnet
from weightshare.units import KIB, MAX_INFO, MIB

DEPTH = 100_000
PATIENCE = 2.0


def _by_magnet(
    arena: Arena, metadata: bytes, *, named_size: int | None = None, v2_hash: bytes = b"", timeout: float = 20
) -> Outcome:
    v2_hash = v2_hash or hashlib.sha256(metadata).digest()
    arena.peer.tell(v2_hash, metadata, named_size=named_size)
    return arena.victim.fetch(str(Magnet(v2_hash=v2_hash)), ports=[arena.peer.port], timeout=timeout)


# ---- bombs


def _oversize(honest: Release) -> bytes:
    return bencode.encode(honest.info() | {b"stuffing": bytes(9 * MIB)})


def _deep_lists(honest: Release) -> bytes:
    return honest.bait().info[:-1] + b"6:x.deep" + b"l" * DEPTH + b"e" * DEPTH + b"e"


def _deep_tree(honest: Release) -> bytes:
    return b"d9:file tree" + b"d1:d" * DEPTH + b"de" + b"e" * DEPTH + b"e"


def _deeper(honest: Release) -> bytes:
    """Below the engine's own limit of 100, above ours."""
    return honest.bait().info[:-1] + b"6:x.deep" + b"l" * 70 + b"e" * 70 + b"e"


def _crowd(honest: Release) -> bytes:
    info = honest.info()
    info[b"file tree"] |= {b"%06d" % number: {b"": {b"length": 0}} for number in range(10_500)}
    return bencode.encode(info)


def _unsorted(honest: Release) -> bytes:
    raw = honest.bait().info
    version, name = b"12:meta versioni2e", b"4:name4:tiny"
    assert version + name in raw
    return raw.replace(version + name, name + version)


def _twice(honest: Release) -> bytes:
    """Two names: a reader takes the first, or the last."""
    return honest.bait().info.replace(b"4:name4:tiny", b"4:name4:evil4:name4:tiny")


def _v1(honest: Release) -> bytes:
    info = honest.info()
    del info[b"meta version"]
    return bencode.encode(info)


def _v3(honest: Release) -> bytes:
    return bencode.encode(honest.info() | {b"meta version": 3})


def _odd_pieces(honest: Release) -> bytes:
    return bencode.encode(honest.info() | {b"piece length": 48 * 1024})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_deep_lists, "The torrent's metadata cannot be read", id="deep-lists"),
        pytest.param(_crowd, "more than 10,000 files beside the manifest", id="too-many-files"),
        pytest.param(_twice, "The torrent's metadata cannot be read: invalid bencoding", id="two-names"),
    ],
)
def test_metadata_that_no_release_has(
    arena: Arena, honest: Release, make: Callable[[Release], bytes], says: str
) -> None:
    before = arena.victim.holdings()
    outcome = _by_magnet(arena, make(honest))
    arena.hold(outcome, before, code=4, error="metainfo", says=says)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_oversize, f"bytes, {MAX_INFO:,} at most", id="nine-mebibytes"),
        pytest.param(_deep_lists, "more than 64 levels deep", id="deep-lists"),
        pytest.param(_deep_tree, "more than 64 levels deep", id="deep-tree"),
        pytest.param(_deeper, "more than 64 levels deep", id="no-deeper-than-the-engine-reads"),
        pytest.param(_crowd, "more than 10,000 files beside the manifest", id="too-many-files"),
        pytest.param(_unsorted, "keys unsorted or there twice", id="keys-unsorted"),
        pytest.param(_twice, "keys unsorted or there twice", id="two-names"),
        pytest.param(_v1, "`meta version` is 'None', not 2", id="no-version"),
        pytest.param(_v3, "`meta version` is '3', not 2", id="later-version"),
        pytest.param(_odd_pieces, "a piece length of 49152", id="piece-length-of-no-power"),
        pytest.param(lambda _: b"le", "a dictionary is expected", id="no-dictionary"),
    ],
)
def test_the_same_in_a_torrent_file(
    arena: Arena, honest: Release, make: Callable[[Release], bytes], says: str
) -> None:
    refusal = arena.victim.refuses_file(honest.bait(), b"d4:info" + make(honest) + b"e")
    assert says in refusal.message


# ---- lies


def test_more_metadata_than_is_taken_from_anybody(arena: Arena, honest: Release) -> None:
    """The engine does not even hold it, so nothing says whether its hash was right."""
    before = arena.victim.holdings()
    outcome = _by_magnet(arena, _oversize(honest), timeout=PATIENCE)
    arena.hold(outcome, before, code=5, error="metadata_timeout", says="none sent the torrent's metadata")
    assert "more than 8.00 MiB is taken from nobody" in outcome.value["hint"]


def test_metadata_of_another_hash(arena: Arena, honest: Release) -> None:
    """One lying peer proves nothing about the release, so this is a network that did not deliver."""
    bait = honest.bait()
    before = arena.victim.holdings()
    lie = bait.info.replace(b"tiny", b"evil")
    outcome = _by_magnet(arena, lie, v2_hash=bait.v2_hash, timeout=PATIENCE)
    arena.hold(outcome, before, code=5, error="metadata_timeout", says="none sent the torrent's metadata")


def test_metadata_that_stops_halfway(arena: Arena, honest: Release) -> None:
    bait = honest.bait()
    before = arena.victim.holdings()
    outcome = _by_magnet(arena, b"", named_size=len(bait.info), v2_hash=bait.v2_hash, timeout=PATIENCE)
    arena.hold(outcome, before, code=5, error="metadata_timeout", says="none sent the torrent's metadata")


def test_metadata_of_a_size_that_is_not_believed(arena: Arena, honest: Release) -> None:
    bait = honest.bait()
    before = arena.victim.holdings()
    outcome = _by_magnet(arena, bait.info, named_size=33 * MIB, v2_hash=bait.v2_hash, timeout=1.5)
    arena.hold(outcome, before, code=5, error=outcome.value["error"], says=" s")
    assert outcome.value["error"] in {"metadata_timeout", "no_peers"}
    assert {index for key, index in arena.peer.asked if key == bait.v2_hash[:20]} <= {0}, (
        "it asks for no more"
    )


@pytest.fixture
def liars() -> Iterator[list[MetadataPeer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(MetadataPeer()) for _ in range(6)]


@pytest.fixture(scope="module")
def wide() -> Release:
    """A release whose metadata takes several messages, which may come from several peers."""
    return release(contents={f"part-{number:04}.json": b"%d" % number for number in range(400)})


def _taken_among(
    arena: Arena, told: Release, liars: list[MetadataPeer], lie: bytes, *, named_size: int | None = None
) -> None:
    bait = told.bait()
    assert arena.seeder.serve(bait)
    for liar in liars:
        liar.tell(bait.v2_hash, lie, named_size=named_size)
    ports = [*(liar.port for liar in liars), arena.seeder.port]
    outcome = arena.victim.fetch(bait.magnet(), "--include", min(told.contents), ports=ports, timeout=40)
    assert outcome.code == 0, outcome
    assert outcome.seconds < 30


@pytest.mark.parametrize("count", [1, 6])
def test_one_honest_peer_is_found_among_liars(
    arena: Arena, honest: Release, liars: list[MetadataPeer], count: int
) -> None:
    """They answer first, and again: a small liar is always quicker than a real client."""
    _taken_among(arena, honest, liars[:count], honest.bait().info.replace(b"tiny", b"evil"))


def test_an_honest_peer_that_comes_later_is_heard(arena: Arena, liars: list[MetadataPeer]) -> None:
    """The engine asks the same peer first again and again; whoever comes after the first lie may never be asked."""
    bait = release(summary="served later").bait()
    for liar in liars:
        liar.tell(bait.v2_hash, bait.info.replace(b"tiny", b"evil"))
    ports = [*(liar.port for liar in liars), arena.seeder.port]
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(arena.victim.fetch, bait.magnet(), ports=ports, timeout=60)
        until(lambda: fetching.done() or any(liar.asked for liar in liars), "a lie")
        assert arena.seeder.serve(bait)
        outcome = fetching.result()
    assert outcome.code == 0, outcome


def test_lies_are_not_mixed_into_the_truth(arena: Arena, wide: Release, liars: list[MetadataPeer]) -> None:
    """With several messages, each may come from another peer, and one that is false spoils all."""
    info = wide.bait().info
    assert len(info) > 32 * KIB
    _taken_among(arena, wide, liars, info[:-500] + b"x" * 400 + info[-100:])


def test_a_false_size_does_not_shut_out_the_truth(
    arena: Arena, wide: Release, liars: list[MetadataPeer]
) -> None:
    """The size that the latest peer names is the one the engine goes by; honest ones then count as mistaken."""
    info = wide.bait().info
    _taken_among(arena, wide, liars, b"", named_size=len(info) + 16 * KIB)


# ---- links


LINK = "magnet:?xt=urn:btmh:1220" + "ab" * 32


@pytest.mark.parametrize(
    ("link", "code", "error", "says"),
    [
        pytest.param("magnet:?xt=urn:btih:" + "ab" * 20, 3, "unsigned", "v1", id="v1-hash-alone"),
        pytest.param(
            "magnet:?xt=urn:btmh:1220abcd", 2, "magnet", "no whole info-hash is left", id="cut-short"
        ),
        pytest.param(f"{LINK}&xt=urn:btmh:1220{'cd' * 32}", 2, "magnet", "two different torrents", id="both"),
        pytest.param(f"{LINK}&x.wsk=AAAA", 2, "magnet", "no publisher's fingerprint", id="no-fingerprint"),
        pytest.param(f"{LINK}&dn=%ff", 2, "magnet", "is not UTF-8", id="broken-text"),
        pytest.param("$(rm -rf x)", 2, "magnet", "is no magnet link", id="no-link"),
    ],
)
def test_links_that_name_no_release(arena: Arena, link: str, code: int, error: str, says: str) -> None:
    before = arena.victim.holdings()
    outcome = arena.victim.fetch(link, ports=[arena.seeder.port])
    arena.hold(outcome, before, code=code, error=error, says=says)


def test_web_seeds_wait_for_the_gate(arena: Arena, honest: Release) -> None:
    """`ws=` is a server of the attacker's choice: even where nobody else sends the manifest, it is not asked."""
    bait = honest.bait()
    before = arena.victim.holdings()
    arena.peer.tell(bait.v2_hash, bait.info)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        outcome = arena.victim.fetch(bait.magnet(web_seeds=(url,)), ports=[arena.peer.port], timeout=PATIENCE)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    arena.hold(outcome, before, code=5, error=outcome.value["error"], says=" s")
    assert outcome.value["error"] in {"stalled", "no_peers"}
