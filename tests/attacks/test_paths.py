"""Names that would land elsewhere, or on each other: exit 4 at the info dictionary, before anything else is asked for.

Torrent and manifest agree on every one of these names, and the manifest is signed by the known key: only the rules for
paths stand in the way. libtorrent would rename most of them and go on.
"""

from __future__ import annotations

import unicodedata
from functools import partial

import pytest

from tests.attacks.arena import METADATA_ONLY, Arena, Victim
from tests.attacks.forge import CONFIG, TOKENS, Bait, Info, Parts, Release, leaf, put, root_of, smuggled
from weightshare.errors import UnsafePathError

EVIL = b"evil"
COMPOSED = unicodedata.normalize("NFC", "modèle.json")
DECOMPOSED = unicodedata.normalize("NFD", "modèle.json")

RENAMED = [
    pytest.param((b"..", b"evil"), "a part is `..`", id="parent"),
    pytest.param((b"/etc/passwd",), "a part is empty, holds `/`", id="absolute"),
    pytest.param((b"..\\..\\evil",), "it holds `\\`", id="backslash"),
    pytest.param((b"CON",), "a part is a Windows device name", id="device"),
    pytest.param((b"evil\x1b[2J.json",), "it holds the control character U+001B", id="escape"),
    pytest.param((DECOMPOSED.encode(),), "it is not in Unicode form NFC", id="not-nfc"),
    pytest.param((b"\xff\xfe",), "it is not UTF-8", id="not-utf-8"),
    pytest.param(tuple([b"e" * 250] * 5), "longer than 1024 bytes", id="long-path"),
    pytest.param(tuple([b"d"] * 16 + [b"evil"]), "more than 16 parts deep", id="deep-path"),
]

# These in a torrent file alone: the rules are the same, and a process for each takes its time.
MORE_RENAMED = [
    pytest.param((b"C:evil",), "it holds `:`", id="drive"),
    pytest.param((b"evil.",), "a part ends in a dot or a space", id="trailing-dot"),
    pytest.param((b"sub ", b"evil"), "a part ends in a dot or a space", id="trailing-space"),
    pytest.param((b"e" * 256,), "longer than 255 bytes", id="long-part"),
    pytest.param((b"sub", b"..", b"..", b"..", b"evil"), "a part is `..`", id="parent-further-down"),
    pytest.param((b".", b"evil"), "a part is `.`", id="here"),
    pytest.param((b"../../evil",), "a part is empty, holds `/`", id="slash-in-a-part"),
    pytest.param((b"evil:stream",), "it holds `:`", id="alternate-stream"),
    pytest.param((b"sub", b"nul.safetensors"), "a part is a Windows device name", id="device-with-suffix"),
    pytest.param(("com¹.txt".encode(),), "a part is a Windows device name", id="device-with-superscript"),
    pytest.param(
        ("evil\u202enosj.py".encode(),), "it holds the control character U+202E", id="right-to-left"
    ),
    pytest.param((b"evil\n.json",), "it holds the control character U+000A", id="line-feed"),
    pytest.param((b"evil\0.json",), "it holds the control character U+0000", id="nul-byte"),
    pytest.param(("é".encode() * 130,), "longer than 255 bytes", id="long-part-in-bytes"),
]


def _twins(first: str, second: str, honest: Release) -> Bait:
    def change(info: Info) -> None:
        for name in (first, second):
            put(info, tuple(part.encode() for part in name.split("/")), leaf(EVIL))

    return honest.bait(change, more=[EVIL])


def _named(name: bytes, honest: Release) -> Bait:
    return honest.bait(lambda info: info.update({b"name": name}))


def _file_and_folder(honest: Release) -> Bait:
    return honest.bait(lambda info: info[b"file tree"][b"sub"].update(leaf(EVIL)), more=[EVIL])


def _empty_part(honest: Release) -> Bait:
    def change(info: Info) -> None:
        info[b"file tree"][b"sub"] = {b"": {b"evil": leaf(EVIL)}}

    return honest.bait(change, more=[EVIL])


def _empty_folder(honest: Release) -> Bait:
    return honest.bait(lambda info: put(info, (b"nothing",), {}))


OTHERS = [
    pytest.param(partial(_twins, CONFIG, "CONFIG.json"), "the same name as", id="case-twin"),
    pytest.param(partial(_twins, COMPOSED, DECOMPOSED), "not in Unicode form NFC", id="nfc-twin"),
    pytest.param(partial(_twins, CONFIG, "Weightshare.json"), "the same name as", id="twin-of-the-manifest"),
    pytest.param(partial(_named, b".."), "a part is `..`", id="torrent-name-parent"),
    pytest.param(partial(_named, b"tiny\x1b[2J"), "the control character U+001B", id="torrent-name-escape"),
]
MORE_OTHERS = [
    pytest.param(
        partial(_twins, "straße.json", "STRASSE.json"), "the same name as", id="case-twin-beyond-ascii"
    ),
    pytest.param(partial(_twins, "sub/a", "Sub/b"), "its folder is that of", id="case-twin-folder"),
    pytest.param(partial(_twins, "a", "A/b"), "a file, and the folder of", id="file-and-folder-by-case"),
    pytest.param(partial(_named, b"../tiny"), "a part holds `/`", id="torrent-name-slash"),
    pytest.param(partial(_named, b"NUL"), "a part is a Windows device name", id="torrent-name-device"),
]


@pytest.mark.parametrize(("path", "says"), RENAMED)
def test_a_path_by_magnet(arena: Arena, honest: Release, path: Parts, says: str) -> None:
    arena.refuses(smuggled(honest, CONFIG, path), code=4, error="unsafe_path", says=says, sent=METADATA_ONLY)


@pytest.mark.parametrize(("make", "says"), OTHERS)
def test_a_tree_by_magnet(arena: Arena, honest: Release, make: partial[Bait], says: str) -> None:
    arena.refuses(make(honest), code=4, error="unsafe_path", says=says, sent=METADATA_ONLY)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_empty_part, "The torrent's metadata cannot be read", id="empty-part"),
        pytest.param(_file_and_folder, "The torrent's metadata cannot be read", id="file-and-folder"),
        pytest.param(_empty_folder, "the folder 'nothing' is empty", id="empty-folder"),
        pytest.param(
            partial(_named, b"t" * 250), "reads differently in the torrent engine", id="long-torrent-name"
        ),
    ],
)
def test_an_odd_tree_by_magnet(arena: Arena, honest: Release, make: partial[Bait], says: str) -> None:
    """What the engine stumbles over by itself, or would store under another name."""
    arena.refuses(make(honest), code=4, error="metainfo", says=says, sent=METADATA_ONLY)


def test_a_path_by_torrent_file(arena: Arena, honest: Release) -> None:
    arena.refuses(
        smuggled(honest, CONFIG, (b"..", b"evil")),
        code=4,
        error="unsafe_path",
        says="a part is `..`",
        sent=METADATA_ONLY,
        by_file=True,
    )


# The others by file in this very process: nothing of them but the file's bytes is read before they are refused.


@pytest.mark.parametrize(("path", "says"), [*RENAMED, *MORE_RENAMED])
def test_a_path_in_a_torrent_file(victim: Victim, honest: Release, path: Parts, says: str) -> None:
    refusal = victim.refuses_file(smuggled(honest, CONFIG, path))
    assert isinstance(refusal, UnsafePathError)
    assert says in refusal.message


@pytest.mark.parametrize(("make", "says"), [*OTHERS, *MORE_OTHERS])
def test_a_tree_in_a_torrent_file(victim: Victim, honest: Release, make: partial[Bait], says: str) -> None:
    refusal = victim.refuses_file(make(honest))
    assert isinstance(refusal, UnsafePathError)
    assert says in refusal.message


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_file_and_folder, "it is a file and a folder at once", id="file-and-folder"),
        pytest.param(_empty_part, "a `length` from 0 to 2^53-1 is expected", id="empty-part"),
        pytest.param(_empty_folder, "the folder 'nothing' is empty", id="empty-folder"),
    ],
)
def test_an_odd_tree_in_a_torrent_file(
    victim: Victim, honest: Release, make: partial[Bait], says: str
) -> None:
    assert says in victim.refuses_file(make(honest)).message


@pytest.mark.parametrize(
    "path",
    [
        pytest.param((b"e" * 240,), id="longest-part-the-engine-keeps"),
        pytest.param(tuple([b"d"] * 15 + [b"e"]), id="deepest-path"),
        pytest.param((COMPOSED.encode(),), id="nfc"),
        pytest.param((b"sub", b"..evil"), id="leading-dots"),
    ],
)
def test_the_other_side_of_each_limit(arena: Arena, honest: Release, path: Parts) -> None:
    """What the rules allow arrives under its very name."""
    bait = smuggled(honest, TOKENS, path)
    outcome = arena.fetch(bait)
    assert outcome.code == 0, outcome
    landed = arena.victim.destination.joinpath(*(part.decode() for part in path))
    assert root_of(landed.read_bytes()) == root_of(honest.contents[TOKENS])
