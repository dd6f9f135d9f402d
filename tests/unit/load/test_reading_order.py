"""The order in which a loader wants a release's bytes, as its headers become known."""

from __future__ import annotations

import pytest

from weightshare.content.safetensors_header import Header, TensorInfo
from weightshare.load.reading_order import SMALL, ReadingOrder
from weightshare.manifest.ranges import ByteRange

SIZE = 1000
FILES = [
    ("README.md", 50),
    ("big.txt", SMALL + 1),
    ("config.json", 10),
    ("consolidated.safetensors", SIZE),
    ("empty", 0),
    ("model-1.safetensors", SIZE),
    ("model-2.safetensors", SIZE),
    ("old.bin", 70),
    ("tokenizer.json", 60),
]


def header(*names: str, length: int = 100) -> Header:
    step = (SIZE - length) // len(names)
    starts = range(length, length + step * len(names), step)
    return Header(
        tuple(
            TensorInfo(name, "U8", (step,), start, start + step)
            for name, start in zip(names, starts, strict=True)
        ),
        {},
        length,
    )


FIRST = header("model.layers.1.w", "model.embed.w", "model.layers.0.w")
SECOND = header("lm_head.w", "model.layers.1.v", "model.layers.0.v")


def order() -> ReadingOrder:
    made = ReadingOrder(FILES)
    made.choose(["model-1.safetensors", "model-2.safetensors"])
    return made


def wanted(made: ReadingOrder) -> list[tuple[str, int, str]]:
    return [(each.path, each.begin, each.tensor) for each in made.ranges()]


def assert_covers_all(made: ReadingOrder) -> None:
    for path, size in FILES:
        ranges = sorted((each.begin, each.end) for each in made.ranges() if each.path == path)
        ends = [0, *(end for _, end in ranges)]
        assert [begin for begin, _ in ranges] == ends[:-1], path
        assert ends[-1] == size, path


def test_small_files_and_the_beginnings_of_shards_come_first() -> None:
    ranges = order().ranges()
    assert [each.path for each in ranges] == [
        *("empty", "config.json", "README.md", "tokenizer.json"),
        *("model-1.safetensors", "model-2.safetensors"),
        *("model-1.safetensors", "model-2.safetensors"),
        *("consolidated.safetensors", "consolidated.safetensors", "big.txt", "old.bin"),
    ]
    assert ranges[4] == ByteRange("model-1.safetensors", 0, 8)
    assert ranges[6] == ByteRange("model-1.safetensors", 8, SIZE)
    assert_covers_all(order())


def test_tensors_come_by_layer_across_the_shards() -> None:
    made = order()
    made.learn("model-1.safetensors", FIRST)
    made.learn("model-2.safetensors", SECOND)
    assert made.unknown() == 0
    ranges = made.ranges()
    assert ranges[4:6] == (
        ByteRange("model-1.safetensors", 0, 100),
        ByteRange("model-2.safetensors", 0, 100),
    )
    assert [each.tensor for each in ranges[6:12]] == [
        *("model.embed.w", "model.layers.0.w", "model.layers.0.v", "model.layers.1.w", "model.layers.1.v"),
        "lm_head.w",
    ]
    assert_covers_all(made)


def test_a_shard_whose_header_is_not_known_yet_follows_the_tensors_that_are() -> None:
    made = order()
    made.learn("model-2.safetensors", SECOND)
    assert made.unknown() == 1
    assert wanted(made)[-8:-4] == [
        ("model-2.safetensors", 700, "model.layers.0.v"),
        ("model-2.safetensors", 400, "model.layers.1.v"),
        ("model-2.safetensors", 100, "lm_head.w"),
        ("model-1.safetensors", 8, ""),
    ]
    assert_covers_all(made)


def test_a_shard_without_a_sound_header_is_read_from_its_beginning() -> None:
    made = order()
    made.learn("model-1.safetensors", None)
    made.learn("model-2.safetensors", SECOND)
    assert made.unknown() == 0
    assert wanted(made)[-5] == ("model-1.safetensors", 0, "")
    assert made.parts("model-1.safetensors") == (ByteRange("model-1.safetensors", 0, SIZE),)
    assert_covers_all(made)


def test_without_a_choice_all_shards_are_the_ones_to_load() -> None:
    made = ReadingOrder(FILES)
    assert made.unknown() == 3
    assert [each.path for each in made.ranges()][4:7] == list(made.shards)


def test_a_second_layout_comes_after_the_first_and_in_order_too() -> None:
    made = order()
    made.learn("consolidated.safetensors", header("norm.w", "layers.0.w", "tok_embeddings.w"))
    tail = wanted(made)[-6:]
    assert [tensor for _, _, tensor in tail] == ["", "tok_embeddings.w", "layers.0.w", "norm.w", "", ""]


@pytest.mark.parametrize("size", [1, 7])
def test_a_file_too_short_for_a_header(size: int) -> None:
    ranges = ReadingOrder([("x.safetensors", size)]).ranges()
    assert ranges == (ByteRange("x.safetensors", 0, size), ByteRange("x.safetensors", size, size))
