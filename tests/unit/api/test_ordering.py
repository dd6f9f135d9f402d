"""The order of a fetch as it grows from the files that arrive, sound or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard
from tests.builders_load import PIECE, release_of
from tests.builders_metainfo import hashed_all
from weightshare.api.ordering import FetchOrder, Ordering
from weightshare.api.results import RangeReady
from weightshare.load.plan import INDEX
from weightshare.manifest.metainfo import Info, build_info, parse_info
from weightshare.manifest.pieces import PieceMap

SIZE = 4 * PIECE


class Fetch:
    """Files that were fetched whole but are only said to be there bit by bit."""

    def __init__(self, folder: Path, files: Mapping[str, bytes], *, order: str = "model") -> None:
        self.info: Info = parse_info(build_info("m", PIECE, hashed_all(files, PIECE), hybrid=False))
        self.pieces = PieceMap(self.info)
        self.told: list[RangeReady] = []
        staged = place(folder / "staged", files)
        self.manifest = release_of(staged, folder / "keys").verified.manifest
        self.ordering = Ordering(self.manifest, self.info, FetchOrder(order), self.told.append, {})
        self.ordering.begin(self.pieces.spans, staged, {})

    def comes(self, path: str, *numbers: int) -> None:
        """These pieces of a file can be read, all of them without a number."""
        span = next(span for span in self.pieces.spans if span.file.path == path)
        self.ordering.readable([span.first + number for number in numbers or range(span.count)])

    def wanted(self) -> list[str]:
        """The files in the order in which their pieces are wanted, neighbours as one."""
        paths = [self.pieces.span_of(piece).file.path for piece in self.ordering.wanted()]
        return [path for path, before in zip(paths, [None, *paths], strict=False) if path != before]


def index_of(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"t{number}": path for number, path in enumerate(shards)}}).encode()


def assert_covers_all(fetch: Fetch) -> None:
    assert sorted(fetch.ordering.wanted()) == list(range(fetch.pieces.total))


def test_the_index_says_which_shards_come_first(tmp_path: Path) -> None:
    files = {
        "a.safetensors": shard(SIZE),
        "b.safetensors": shard(SIZE, 1),
        INDEX: index_of("b.safetensors"),
        "config.json": b"{}",
    }
    fetch = Fetch(tmp_path, files)
    assert fetch.wanted()[:3] == ["config.json", INDEX, "a.safetensors"]
    fetch.comes(INDEX)
    assert fetch.wanted() == ["config.json", INDEX, "b.safetensors", "a.safetensors"]
    assert_covers_all(fetch)


@pytest.mark.parametrize("index", [b"{}", b"no JSON", index_of("c.safetensors")])
def test_an_index_that_cannot_be_used_is_none(tmp_path: Path, index: bytes) -> None:
    files = {"a.safetensors": shard(SIZE), INDEX: index}
    fetch = Fetch(tmp_path, files)
    fetch.comes(INDEX)
    assert fetch.wanted() == [INDEX, "a.safetensors"]
    assert_covers_all(fetch)


@pytest.mark.parametrize(
    "damaged", [b"x" * SIZE, (1 << 40).to_bytes(8, "little") * (SIZE // 8), b"\x08" + bytes(7) + b"{}", b"x"]
)
def test_a_shard_without_a_sound_header_is_one_range(tmp_path: Path, damaged: bytes) -> None:
    fetch = Fetch(tmp_path, {"a.safetensors": damaged, "b.safetensors": shard(SIZE)})
    fetch.comes("a.safetensors")
    fetch.comes("b.safetensors")
    assert [(each.path, each.begin, each.tensor) for each in fetch.told] == [
        ("a.safetensors", 0, ""),
        ("b.safetensors", 0, ""),
        ("b.safetensors", 128, "weight"),
    ]
    assert_covers_all(fetch)


def test_a_file_that_cannot_be_opened_is_not_read(tmp_path: Path) -> None:
    fetch = Fetch(tmp_path, {"a.safetensors": shard(SIZE)})
    (tmp_path / "staged" / "a.safetensors").unlink()
    fetch.comes("a.safetensors", 0)
    assert fetch.told == []
    assert_covers_all(fetch)


def test_rarest_first_wants_nothing_first_and_tells_all_the_same(tmp_path: Path) -> None:
    fetch = Fetch(tmp_path, {"a.safetensors": shard(SIZE), "config.json": b"{}"}, order="rarest")
    assert fetch.ordering.wanted() == ()
    fetch.comes("config.json")
    assert [each.path for each in fetch.told] == ["config.json"]
    assert not fetch.told[0].proven
    assert fetch.told[0].location.read_bytes() == b"{}"


def test_of_equal_files_one_is_asked_for_and_all_are_told_of(tmp_path: Path) -> None:
    same = shard(SIZE)
    fetch = Fetch(tmp_path, {"a.safetensors": same, "b.safetensors": same, "c.safetensors": same})
    staged = tmp_path / "staged"
    first, *others = fetch.pieces.spans[:3]
    # As if only the second and the third were wanted.
    fetch.ordering = Ordering(fetch.manifest, fetch.info, FetchOrder.MODEL, fetch.told.append, {})
    fetch.ordering.begin([first], staged, {}, {first.position: others})
    fetch.comes("a.safetensors")
    assert fetch.wanted() == ["a.safetensors"]
    assert {told.path for told in fetch.told} == {"b.safetensors", "c.safetensors"}
    assert {told.location for told in fetch.told} == {staged / "a.safetensors"}
    assert not any(told.proven for told in fetch.told)
    fetch.ordering.watch.proven(first.pieces)
    assert [told.path for told in fetch.told if told.proven] == [t.path for t in fetch.told if not t.proven]
