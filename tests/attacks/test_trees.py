"""Torrents that hold something else than was signed: exit 4, with the manifest alone asked for, or not even that.

The manifest in them is the honest one; the torrent around it was changed and hashed anew, and the link names it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.attacks.arena import METADATA_ONLY, Arena, Victim
from tests.attacks.forge import (
    CONFIG,
    SHARD_1,
    SHARD_2,
    TOKENS,
    Bait,
    Info,
    Release,
    facts,
    leaf,
    parts_of,
    put,
    release,
    root_of,
    take,
)
from weightshare.manifest import bencode
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB

EVIL = b"import os; os.system('true')\n"


def _added(info: Info) -> None:
    put(info, (b"evil.py",), leaf(EVIL))


def _dropped(info: Info) -> None:
    take(info, SHARD_2)


def _renamed(old: str, new: str, info: Info) -> None:
    put(info, parts_of(new), take(info, old))


def _resized(by: int, info: Info) -> None:
    facts(info, SHARD_1)[b"length"] += by


def _replaced(info: Info) -> None:
    facts(info, CONFIG).update(leaf(EVIL)[b""] | {b"length": facts(info, CONFIG)[b"length"]})


def _swapped(info: Info) -> None:
    one, two = facts(info, CONFIG), facts(info, TOKENS)
    one[b"pieces root"], two[b"pieces root"] = two[b"pieces root"], one[b"pieces root"]


def _set(field: bytes, value: object, info: Info) -> None:
    info[field] = value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(_added, "'evil.py': in the torrent, not signed", id="file-added"),
        pytest.param(_dropped, f"'{SHARD_2}': signed, not in the torrent", id="file-dropped"),
        pytest.param(partial(_renamed, CONFIG, "setup.py"), "'setup.py': in the torrent", id="file-renamed"),
        pytest.param(
            partial(_renamed, CONFIG, "Config.json"), "'Config.json': in the", id="letter-case-changed"
        ),
        pytest.param(partial(_resized, 1), "96089 bytes, signed are 96088", id="size-plus-one"),
        pytest.param(_replaced, f"'{CONFIG}': another pieces root than was signed", id="root-changed"),
        pytest.param(
            partial(_set, b"name", b"tiny2"), "name is 'tiny2', signed is 'tiny'", id="name-changed"
        ),
        pytest.param(
            partial(_set, b"piece length", 64 * KIB),
            "piece length is 65536, signed is 32768",
            id="piece-length-changed",
        ),
    ],
)
def test_a_torrent_that_is_not_what_was_signed(
    arena: Arena, honest: Release, change: Callable[[Info], object], says: str
) -> None:
    arena.refuses(honest.bait(change, more=[EVIL]), code=4, error="tree_mismatch", says=says)


def test_an_empty_file_added(arena: Arena, honest: Release) -> None:
    bait = honest.bait(lambda info: put(info, (b"__init__.py",), {b"": {b"length": 0}}))
    arena.refuses(bait, code=4, error="tree_mismatch", says="'__init__.py': in the torrent, not signed")


def test_a_hybrid_where_v2_alone_was_signed(arena: Arena, honest: Release, hybrid: Release) -> None:
    arena.refuses(
        hybrid.bait(envelope=honest.envelope),
        code=4,
        error="tree_mismatch",
        says="hybrid is True, signed is False",
    )


def test_v2_alone_where_a_hybrid_was_signed(arena: Arena, honest: Release, hybrid: Release) -> None:
    arena.refuses(
        honest.bait(envelope=hybrid.envelope),
        code=4,
        error="tree_mismatch",
        says="hybrid is False, signed is True",
    )


def test_nothing_but_the_manifest(arena: Arena, honest: Release) -> None:
    """The engine takes a folder with one file in it for a single-file torrent."""

    def alone(info: Info) -> None:
        info[b"file tree"] = {MANIFEST_NAME.encode(): info[b"file tree"][MANIFEST_NAME.encode()]}

    arena.refuses(honest.bait(alone), code=4, error="metainfo", says="reads differently", sent=METADATA_ONLY)


def test_a_torrent_of_one_file_that_is_the_manifest(arena: Arena, honest: Release) -> None:
    """A single-file torrent has no folder, so its file lies elsewhere than any other torrent's."""

    def alone(info: Info) -> None:
        info[b"file tree"] = {MANIFEST_NAME.encode(): info[b"file tree"][MANIFEST_NAME.encode()]}
        info[b"name"] = MANIFEST_NAME.encode()

    arena.refuses(honest.bait(alone), code=4, error="metainfo", says="reads differently", sent=METADATA_ONLY)


def test_a_torrent_file_that_is_not_what_was_signed(arena: Arena, honest: Release) -> None:
    arena.refuses(
        honest.bait(_added, more=[EVIL]), code=4, error="tree_mismatch", says="'evil.py'", by_file=True
    )


# ---- attributes: files that are more than bytes under a name


def _attribute(letter: bytes, info: Info) -> None:
    facts(info, CONFIG)[b"attr"] = letter


def _link(info: Info) -> None:
    put(
        info,
        (CONFIG.encode(),),
        {b"": {b"length": 0, b"attr": b"l", b"symlink path": [b"..", b"..", b"id_ed25519"]}},
    )


def _quiet_link(info: Info) -> None:
    facts(info, CONFIG)[b"symlink path"] = [b"etc", b"passwd"]


ATTRIBUTES = [
    pytest.param(_link, id="symlink"),
    pytest.param(_quiet_link, id="symlink-path-without-attribute"),
    pytest.param(partial(_attribute, b"x"), id="executable"),
    pytest.param(partial(_attribute, b"h"), id="hidden"),
]


REFUSED = f"field `file tree: '{CONFIG}'`: links, executable, hidden and other special files"


@pytest.mark.parametrize("change", ATTRIBUTES)
def test_attributes(arena: Arena, honest: Release, change: Callable[[Info], object]) -> None:
    arena.refuses(honest.bait(change), code=4, error="metainfo", says=REFUSED, sent=METADATA_ONLY)


@pytest.mark.parametrize("change", ATTRIBUTES)
def test_attributes_in_a_torrent_file(
    victim: Victim, honest: Release, change: Callable[[Info], object]
) -> None:
    assert REFUSED in victim.refuses_file(honest.bait(change)).message


def test_a_pad_file_in_a_torrent_file(victim: Victim, honest: Release) -> None:
    assert REFUSED in victim.refuses_file(honest.bait(partial(_attribute, b"p"))).message


def test_a_pad_file(arena: Arena, honest: Release) -> None:
    """A pad is bytes that nobody sends; the engine refuses it before the gate does."""
    arena.refuses(
        honest.bait(partial(_attribute, b"p")),
        code=4,
        error="metainfo",
        says="metadata cannot be read: a file in the v2 metadata",
        sent=METADATA_ONLY,
    )


# ---- what the info-hash does not cover


def test_piece_layers_that_do_not_lead_to_their_root(arena: Arena, honest: Release) -> None:
    """libtorrent loads such a `.torrent`; the lie would show only as pieces that never pass."""
    bait = honest.bait()
    root = root_of(honest.contents[SHARD_1])
    lie = bytes([bait.layers[root][0] ^ 1]) + bait.layers[root][1:]
    torrent = bencode.decode(bait.torrent, limit=2**24, what="torrent")
    assert isinstance(torrent, dict)
    layers = torrent[b"piece layers"]
    assert isinstance(layers, dict)
    layers[root] = lie
    arena.refuses(
        bait,
        code=4,
        error="metainfo",
        says=f"the hashes of '{SHARD_1}' do not lead to its pieces root",
        sent=METADATA_ONLY,
        by_file=True,
        file=bencode.encode(torrent),
    )


def test_a_release_with_all_the_right_names_and_other_bytes(arena: Arena, honest: Release) -> None:
    """The plainest fraud: other weights under the honest manifest."""
    other = {**honest.contents, SHARD_1: EVIL, TOKENS: EVIL}
    fraud: Bait = release(contents=other).bait(envelope=honest.envelope)
    arena.refuses(
        fraud, code=4, error="tree_mismatch", says=f"'{SHARD_1}': {len(EVIL)} bytes, signed are 96088"
    )
