"""Hybrids whose v1 half describes other files than the v2 half: exit 4.

A v1 client and a v2 client would then get different releases under one link. The tree and the manifest are honest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks.arena import METADATA_ONLY, Arena, Victim
from tests.attacks.forge import CONFIG, Info, Release
from weightshare.errors import MetainfoError

V1List = list[dict[bytes, Any]]


def _files(info: Info) -> V1List:
    files = info[b"files"]
    assert isinstance(files, list)
    return files


def _real(info: Info) -> V1List:
    return [entry for entry in _files(info) if b"attr" not in entry]


def _pad(info: Info) -> dict[bytes, Any]:
    return next(entry for entry in _files(info) if entry.get(b"attr") == b"p")


def _size(info: Info) -> None:
    """One byte from the pad to the file before it: all offsets stay."""
    _real(info)[0][b"length"] += 1
    _pad(info)[b"length"] -= 1
    _pad(info)[b"path"] = [b".pad", b"%d" % _pad(info)[b"length"]]


def _name(info: Info) -> None:
    _real(info)[0][b"path"] = [b"evil.py"]


def _order(info: Info) -> None:
    one, two = _real(info)[1], _real(info)[2]
    one[b"path"], two[b"path"] = two[b"path"], one[b"path"]
    one[b"length"], two[b"length"] = two[b"length"], one[b"length"]


def _no_pad(info: Info) -> None:
    _files(info).remove(_pad(info))


def _pad_named_like_a_file(info: Info) -> None:
    _pad(info)[b"path"] = [b"evil.py"]


def _pad_that_is_a_file(info: Info) -> None:
    del _pad(info)[b"attr"]


def _short_pad(info: Info) -> None:
    _pad(info)[b"length"] -= 1
    _pad(info)[b"path"] = [b".pad", b"%d" % _pad(info)[b"length"]]


def _more(info: Info) -> None:
    _files(info).append({b"length": 0, b"path": [b"__init__.py"]})


def _less(info: Info) -> None:
    del _files(info)[-2:]
    info[b"pieces"] = info[b"pieces"][:-20]


def _link(info: Info) -> None:
    _real(info)[0].update({b"attr": b"l", b"symlink path": [b"..", b"id_ed25519"]})


def _executable(info: Info) -> None:
    _real(info)[0][b"attr"] = b"x"


def _other_path_in_utf8(info: Info) -> None:
    _real(info)[0][b"path.utf-8"] = [b"evil.py"]


def _other_name_in_utf8(info: Info) -> None:
    info[b"name.utf-8"] = b"evil"


def _parent(info: Info) -> None:
    _real(info)[0][b"path"] = [b"..", b"evil.py"]


def _single(info: Info) -> None:
    info[b"length"] = sum(entry[b"length"] for entry in info.pop(b"files"))


def _both_forms(info: Info) -> None:
    info[b"length"] = 5


def _few_pieces(info: Info) -> None:
    info[b"pieces"] = info[b"pieces"][:-20]


def _no_pieces(info: Info) -> None:
    del info[b"pieces"]


ATTACKS = [
    pytest.param(_size, "field `files[0]`: 'config.json' of 24 bytes, where the tree has", id="size"),
    pytest.param(
        _name, "field `files[0]`: 'evil.py' of 23 bytes, where the tree has 'config.json'", id="name"
    ),
    pytest.param(_order, "where the tree has", id="order"),
    pytest.param(_no_pad, "starts within a piece; a pad is missing", id="no-pad"),
    pytest.param(
        _pad_named_like_a_file, "a pad file of 32745 bytes is named .pad/32745", id="pad-with-a-name"
    ),
    pytest.param(_pad_that_is_a_file, "'.pad/32745' of 32745 bytes, where the tree has", id="pad-as-a-file"),
    pytest.param(_short_pad, "a pad of 32744 bytes where 32745 are missing to a piece", id="short-pad"),
    pytest.param(_more, "'__init__.py' is not in the tree", id="file-too-many"),
    pytest.param(_less, "'weightshare.json' of the tree is missing", id="file-too-few"),
    pytest.param(_link, "links, executable, hidden and other special files", id="symlink"),
    pytest.param(_executable, "links, executable, hidden and other special files", id="executable"),
    pytest.param(_other_path_in_utf8, "field `files[0].path.utf-8`: it differs", id="second-path"),
    pytest.param(_other_name_in_utf8, "field `name.utf-8`: it differs", id="second-name"),
    pytest.param(_parent, "'../evil.py' of 23 bytes, where the tree has 'config.json'", id="parent"),
    pytest.param(_single, "differ on whether this is a single file", id="single-file"),
    pytest.param(_both_forms, "half a v1 list", id="list-and-length"),
    pytest.param(_few_pieces, "20 for each of", id="too-few-pieces"),
    pytest.param(_no_pieces, "half a v1 list", id="no-pieces"),
]


def test_the_honest_hybrid_is_taken(arena: Arena, hybrid: Release) -> None:
    outcome = arena.fetch(hybrid.bait())
    assert outcome.code == 0, outcome
    assert (arena.victim.destination / CONFIG).read_bytes() == hybrid.contents[CONFIG]


@pytest.mark.parametrize(("change", "says"), ATTACKS)
def test_in_a_torrent_file(
    victim: Victim, hybrid: Release, change: Callable[[Info], None], says: str
) -> None:
    refusal = victim.refuses_file(hybrid.bait(change))
    assert isinstance(refusal, MetainfoError)
    assert says in refusal.message


def test_by_torrent_file(arena: Arena, hybrid: Release) -> None:
    arena.refuses(
        hybrid.bait(_size),
        code=4,
        error="metainfo",
        says="'config.json' of 24 bytes, where the tree has",
        sent=METADATA_ONLY,
        by_file=True,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        # These the engine sees too, and refuses the metadata.
        pytest.param(_size, "cannot be read: the v1 and v2 file metadata does not match", id="size"),
        pytest.param(_few_pieces, "cannot be read: incorrect number of piece hashes", id="too-few-pieces"),
        # These it lets pass.
        pytest.param(_pad_named_like_a_file, "a pad file of 32745 bytes is named", id="pad-with-a-name"),
        pytest.param(_executable, "field `files[0]`: links, executable, hidden", id="executable"),
        pytest.param(_other_name_in_utf8, "field `name.utf-8`: it differs", id="second-name"),
        pytest.param(_both_forms, "half a v1 list", id="list-and-length"),
        pytest.param(_no_pieces, "half a v1 list", id="no-pieces"),
    ],
)
def test_by_magnet(arena: Arena, hybrid: Release, change: Callable[[Info], None], says: str) -> None:
    arena.refuses(hybrid.bait(change), code=4, error="metainfo", says=says, sent=METADATA_ONLY)


def test_a_release_that_squats_in_the_pads_folder(arena: Arena, hybrid: Release) -> None:
    """A v1 client takes what lies in `.pad` for padding, and keeps nothing of it."""

    def squat(info: Info) -> None:
        info[b"file tree"][b".pad"] = {b"5": {b"": {b"length": 0}}}
        _files(info).insert(0, {b"length": 0, b"path": [b".pad", b"5"]})

    arena.refuses(
        hybrid.bait(squat), code=4, error="unsafe_path", says="`.pad` belongs to", sent=METADATA_ONLY
    )
