"""A new release that differs from one that is here in three tensors takes about three tensors from the swarm."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders_checkpoints import place
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.waiting import until
from weightshare.content.journal import Journal
from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.manifest.metainfo import parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB, MIB

PIECE = 64 * KIB
WORDS = ("--piece-length", str(PIECE))
TENSORS = 8
TENSOR = 100_000

# Two beginnings of a piece with the same SHA-1: the blocks of https://shattered.io, after their common prefix.
_PREFIX = bytes.fromhex(
    "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f4865696768742033203020522f"
    "547970652034203020522f537562747970652035203020522f46696c7465722036203020522f436f6c6f7253706163652037203020"
    "522f4c656e6774682038203020522f42697473506572436f6d706f6e656e7420383e3e0a73747265616d0affd8fffe00245348412d"
    "3120697320646561642121212121852fec092339759c39b1a1c63c4c97e1fffe01"
)
_TWINS = (
    bytes.fromhex(
        "7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c1530afedfb76038e97272"
        "2fe7ad728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f2a332ec37fac3514e74ddc0f2cc1a874cd0c"
        "78305a21566461309789606bd0bf3f98cda8044629a1"
    ),
    bytes.fromhex(
        "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3dc38e96ac2"
        "2fe7bd728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500eb4ddc0decc1a864790c"
        "782c76215660dd309791d06bd0af3f98cda4bc4629b1"
    ),
)


def checkpoint(changed: Mapping[tuple[int, int], int] | None = None) -> dict[str, bytes]:
    """Five shards of eight tensors each; `changed` gives other seeds to some of them, by shard and tensor."""
    header = {
        f"layer.{number}": {
            "dtype": "U8",
            "shape": [TENSOR],
            "data_offsets": [number * TENSOR, (number + 1) * TENSOR],
        }
        for number in range(TENSORS)
    }
    text = json.dumps(header).encode()
    files = {"config.json": json.dumps({"changed": len(changed or {})}).encode()}
    for shard in range(5):
        body = b"".join(
            random.Random((changed or {}).get((shard, number), 100 * shard + number)).randbytes(TENSOR)
            for number in range(TENSORS)
        )
        files[f"model-{shard + 1:05}-of-00005.safetensors"] = len(text).to_bytes(8, "little") + text + body
    return files


FIRST, SECOND = checkpoint(), checkpoint({(0, 3): 7001, (2, 0): 7002, (4, 7): 7003})


def difference(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> int:
    """Bytes of the pieces of `new` that stand nowhere in `old`."""
    pieces = {data[at : at + PIECE] for data in old.values() for at in range(0, len(data), PIECE)}
    cut = (data[at : at + PIECE] for data in new.values() for at in range(0, len(data), PIECE))
    return sum(len(piece) for piece in cut if piece not in pieces)


def pair(tmp_path: Path, old: Mapping[str, bytes], new: Mapping[str, bytes], *words: str) -> list[Published]:
    """Two versions by one maintainer."""
    home = tmp_path / "maintainer"
    return [
        publish(home, place(home / version / "m7b", files), "--version", version, *(words or WORDS))
        for version, files in (("1", old), ("2", new))
    ]


@pytest.mark.parametrize("by", ["magnet", "torrent"])
@pytest.mark.parametrize("kind", ["hybrid", "v2-only"])
def test_three_changed_tensors_are_three_tensors_to_fetch(tmp_path: Path, kind: str, by: str) -> None:
    words = (*WORDS, "--v2-only") if kind == "v2-only" else WORDS
    first, second = pair(tmp_path, FIRST, SECOND, *words)
    user = tmp_path / "user"
    source = second.magnet if by == "magnet" else str(second.facts["torrent"])
    with seeding(first.home, "acme/m7b@1") as seeder:
        fetch(user, first, "--peer", seeder.peer)
    with seeding(first.home, "acme/m7b@2") as seeder:
        said = fetch(user, second, "--dry-run", "--peer", seeder.peer, source=source)
        got = fetch(user, second, "--peer", seeder.peer, source=source)
        uploaded = seeder.stop()["uploaded"]
    fetched = difference(FIRST, SECOND)
    assert fetched < 3 * (TENSOR + 2 * PIECE)
    assert got["received"] == {"swarm": fetched, "hub": 0, "reused": second.size - fetched}
    assert_whole(Path(got["path"]), second)
    # Twice the manifest, once for the dry run, and what fills up the last piece of a file.
    manifest = (Path(got["path"]) / MANIFEST_NAME).stat().st_size
    assert fetched <= uploaded <= fetched + 2 * manifest + 6 * PIECE
    assert said["from_peers"] == fetched
    shard = next(file for file in said["files"] if file["path"] == "model-00001-of-00005.safetensors")
    assert shard["from"] == "peers"
    assert shard["pieces"] == {"acme/m7b@1": shard["size"] - shard["from_peers"]}
    with seeding(user, "acme/m7b@2") as seeder:
        assert_whole(Path(fetch(tmp_path / "third", second, "--peer", seeder.peer)["path"]), second)


@pytest.mark.parametrize("length", [16, 64, 256])
def test_a_piece_is_taken_from_wherever_it_stands(tmp_path: Path, length: int) -> None:
    unit = 256 * KIB
    a, b, c, x = (random.Random(seed).randbytes(unit) for seed in range(4))
    end = random.Random(5).randbytes(1000)
    y = b[: 100 * KIB] + bytes([b[100 * KIB] ^ 1]) + b[100 * KIB + 1 :]
    home, user = tmp_path / "maintainer", tmp_path / "user"
    old = place(home / "1" / "m7b", {"one.dat": a + b + c + end})
    new = place(home / "2" / "m7b", {"other/two.dat": x + c + a + y + end, "end.dat": end})
    first = publish(home, old, "--version", "1", "--piece-length", f"{length}K", "--v2-only")
    second = publish(home, new, "--version", "2", *WORDS)
    with seeding(home, "acme/m7b@1", "acme/m7b@2") as seeder:
        fetch(user, first, "--peer", seeder.peer)
        said = fetch(user, second, "--dry-run", "--peer", seeder.peer)
        got = fetch(user, second, "--peer", seeder.peer)
    assert got["received"] == {"swarm": unit + PIECE, "hub": 0, "reused": second.size - unit - PIECE}
    # What is only guessed to be there, between longer pieces, is not promised.
    assert said["from_peers"] == (unit + PIECE if length <= 64 else 2 * unit)
    assert_whole(Path(got["path"]), second)


@pytest.mark.parametrize("forged", [False, True])
def test_a_file_that_is_not_what_it_was_costs_what_is_wrong_in_it(tmp_path: Path, forged: bool) -> None:
    first, second = pair(tmp_path, FIRST, SECOND)
    user, path = tmp_path / "user", "model-00002-of-00005.safetensors"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        one = Path(fetch(user, first, "--peer", seeder.peer)["path"]) / path
        one.chmod(0o644)
        spoilt = bytearray(FIRST[path])
        spoilt[3 * PIECE] ^= 1
        spoilt[-1] ^= 1
        one.write_bytes(spoilt)
        if forged:
            (receipts,) = user.glob("weightshare/releases/*/receipts.json")
            known = load_receipts(receipts)
            root = bytes.fromhex(known[path].root or "")
            save_receipts(receipts, {**known, path: Receipt.of(one, root)})
        said = fetch(user, second, "--dry-run", "--peer", seeder.peer)
        got = fetch(user, second, "--peer", seeder.peer)
    wrong = PIECE + len(spoilt) % PIECE
    fetched = difference(FIRST, SECOND) + wrong
    assert got["received"] == {"swarm": fetched, "hub": 0, "reused": second.size - fetched}
    assert said["from_peers"] == (fetched - wrong if forged else fetched - wrong + len(spoilt))
    assert_whole(Path(got["path"]), second)
    assert one.read_bytes() == spoilt, "somebody's file is left alone"


def test_a_release_whose_files_are_gone_is_no_source(tmp_path: Path) -> None:
    first, second = pair(tmp_path, FIRST, SECOND)
    user = tmp_path / "user"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        shutil.rmtree(fetch(user, first, "--peer", seeder.peer)["path"])
        got = fetch(user, second, "--peer", seeder.peer)
    assert got["received"] == {"swarm": second.size, "hub": 0, "reused": 0}


def test_killed_while_it_copies_it_goes_on_copying(tmp_path: Path) -> None:
    size = 192 * MIB
    body = os.urandom(size)
    old = {"model.dat": body}
    new = {"model.dat": body[: size // 2] + os.urandom(PIECE) + body[size // 2 + PIECE :]}
    first, second = pair(tmp_path, old, new, *WORDS, "--v2-only")
    user = tmp_path / "user"
    with seeding(first.home, "acme/m7b@1") as seeder:
        fetch(user, first, "--peer", seeder.peer)
    with seeding(first.home, "acme/m7b@2") as seeder:
        out = user / "out"
        words = ("fetch", second.magnet, str(out), *second.trust, "--peer", seeder.peer, "--quiet", "--json")
        with Running(user, *words) as running:
            state = user / "weightshare" / "releases" / f"{second.facts['info_hash_v2'][:40]}-*"
            until(
                lambda: any(p.stat().st_size for p in _glob(state / "pieces")),
                "the first piece in the journal",
            )
            running.send(signal.SIGKILL)
            running.end()
            until(lambda: not running.relatives(), "its workers to end", within=10)
        (journal,) = _glob(state / "pieces")
        copied = len(Journal(journal).known)
        assert 0 < copied < size // PIECE - 1, "the kill came too late: make the file larger"
        assert not (out / "model.dat").exists()
        got = fetch(user, second, str(out), "--peer", seeder.peer)
        uploaded = seeder.stop()["uploaded"]
    assert got["received"] == {"swarm": PIECE, "hub": 0, "reused": size - PIECE}
    assert uploaded < 3 * PIECE
    assert_whole(out, second)


def test_what_was_begun_in_another_folder_is_taken_from_there(tmp_path: Path) -> None:
    first, _ = pair(tmp_path, FIRST, SECOND)
    user = tmp_path / "user"
    user.mkdir()
    with seeding(first.home, "acme/m7b@1") as seeder:
        words = ("fetch", first.magnet, *first.trust, "--peer", seeder.peer, "--quiet", "--json")
        with Running(user, *words, str(user / "a"), "--max-down", str(MIB)) as running:
            until(lambda: any(len(Journal(p).known) > 20 for p in _glob(user / _PIECES)), "some pieces")
            running.send(signal.SIGINT)
            running.end()
        (journal,) = _glob(user / _PIECES)
        had = sum(
            PIECE for piece in Journal(journal).known if (piece + 1) % (-(-len(_SHARD) // PIECE))
        )  # not counted: the last piece of a shard, which is short
        got = fetch(user, first, str(user / "b"), "--peer", seeder.peer)
    assert got["received"]["reused"] >= had // 2 > 0
    assert got["received"]["swarm"] + got["received"]["reused"] == first.size
    assert_whole(user / "b", first)


@pytest.mark.parametrize("collides", [False, True])
def test_a_hybrid_s_sha_1_says_where_to_look_and_not_what_is_right(tmp_path: Path, collides: bool) -> None:
    body = bytearray(random.Random(1).randbytes(6 * MIB))
    at = 7 * PIECE
    body[at : at + 320] = _PREFIX + _TWINS[0]
    old = {"model.dat": bytes(body)}
    if collides:
        body[at : at + 320] = _PREFIX + _TWINS[1]
    body[-1] ^= 1
    first, second = pair(tmp_path, old, {"model.dat": bytes(body)})
    user = tmp_path / "user"
    user.mkdir()
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        # Begun while nothing else was here: nobody was asked for piece hashes, and nobody is when it goes on.
        words = ("fetch", second.magnet, *second.trust, "--peer", seeder.peer, "--quiet", "--json")
        with Running(user, *words, "--max-down", str(256 * KIB)) as running:
            until(lambda: any(Journal(p).known for p in _glob(user / _PIECES)), "the first piece")
            running.send(signal.SIGINT)
            running.end()
        (journal,) = _glob(user / _PIECES)
        assert not (journal.parent / "layers").exists()
        assert parse_info((journal.parent / "info").read_bytes()).hybrid
        assert 7 not in Journal(journal).known, "the kill came too late"
        fetch(user, first, "--peer", seeder.peer)
        got = fetch(user, second, "--peer", seeder.peer)
        uploaded = seeder.stop()["uploaded"] - first.size
    # Nobody can tell which piece of the file is the wrong one: all that SHA-1 had led to come anew.
    assert collides or got["received"]["swarm"] == PIECE
    assert (uploaded > second.size) == collides
    assert_whole(Path(got["path"]), second)


_PIECES = Path("weightshare/releases/*/pieces")
_SHARD = FIRST["model-00001-of-00005.safetensors"]


def _glob(pattern: Path) -> list[Path]:
    return list(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
