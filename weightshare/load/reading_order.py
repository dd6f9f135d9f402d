"""The order in which a loader wants a release's bytes: small files, the shards' headers, tensors by layer, the rest.

It is known bit by bit: a shard's tensors only once its header has been read, and the header lies at the shard's own
beginning. Until then a shard is wanted from its beginning on. Nothing here reads a file, and nothing depends on it but
the order: every byte is fetched and proven in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import itemgetter

from weightshare.content.safetensors_header import LENGTH_SIZE, Header
from weightshare.load.plan import SUFFIX
from weightshare.load.tensor_order import place_of
from weightshare.manifest.kinds import is_pickle
from weightshare.manifest.ranges import ByteRange
from weightshare.units import MIB

SMALL = 64 * MIB
"""Bytes; a longer file is none of those that a loader reads before the weights."""

_OTHER_WEIGHTS = (".gguf", ".onnx", ".h5", ".msgpack", ".npz")


class ReadingOrder:
    """What is wanted first, by what is known so far.

    Args:
        files: path and size in bytes of each, in the release's order.
    """

    def __init__(self, files: Sequence[tuple[str, int]]) -> None:
        self._files = tuple(files)
        self._sizes = dict(files)
        self._parts: dict[str, tuple[ByteRange, ...] | None] = {}
        self._places: dict[str, list[tuple[int, int]]] = {}  # of the tensors of each shard
        self._chosen: Collection[str] | None = None

    @property
    def shards(self) -> tuple[str, ...]:
        """The files that begin with a safetensors header, by their names."""
        return tuple(path for path, size in self._files if path.lower().endswith(SUFFIX) and size)

    def choose(self, paths: Collection[str]) -> None:
        """These shards are the ones that are loaded; others hold the same weights in a second layout."""
        self._chosen = frozenset(paths)

    def learn(self, path: str, header: Header | None) -> None:
        """Take in a shard's header, None for one that cannot be read: then it is wanted from its beginning on."""
        if header is None:
            self._parts[path] = None
            return
        tensors = (ByteRange(path, each.start, each.end, each.name) for each in header.tensors)
        self._parts[path] = (ByteRange(path, 0, header.length), *tensors)
        self._places[path] = [place_of(each.name) for each in header.tensors]

    def unknown(self) -> int:
        """How many of the shards to load have a header that was not read yet."""
        return sum(path not in self._parts for path in self.shards if self._is_chosen(path))

    def parts(self, path: str) -> tuple[ByteRange, ...]:
        """The ranges of one file in the order they lie in it; its bytes as one range where no more is known."""
        return self._parts.get(path) or (ByteRange(path, 0, self._sizes[path]),)

    def ranges(self) -> tuple[ByteRange, ...]:
        """All ranges in the order as known now; together they cover every file once."""
        shards = dict.fromkeys(self.shards)
        chosen = [path for path in shards if self._is_chosen(path)]
        others = [path for path in shards if not self._is_chosen(path)]
        plain = [(path, size) for path, size in self._files if path not in shards]
        small = sorted((file for file in plain if is_small(*file)), key=lambda file: file[1])
        large = [file for file in plain if not is_small(*file)]
        return (
            *(ByteRange(path, 0, size) for path, size in small),
            *self._in_model_order(chosen),
            *self._in_model_order(others),
            *(ByteRange(path, 0, size) for path, size in large),
        )

    def _is_chosen(self, path: str) -> bool:
        return self._chosen is None or path in self._chosen

    def _in_model_order(self, shards: Sequence[str]) -> list[ByteRange]:
        """Headers, tensors as a model is built from them, and what is left of shards whose tensors are not known."""
        begun: list[ByteRange] = []
        placed: list[tuple[tuple[int, int], ByteRange]] = []
        whole: list[ByteRange] = []
        for path in shards:
            parts = self._parts.get(path)
            if parts is None:
                size = self._sizes[path]
                begins = min(LENGTH_SIZE, size) if path not in self._parts else 0
                if begins:
                    begun.append(ByteRange(path, 0, begins))
                whole.append(ByteRange(path, begins, size))
                continue
            begun.append(parts[0])
            placed.extend(zip(self._places[path], parts[1:], strict=True))
        placed.sort(key=itemgetter(0))  # and within one place by shard and offset, as they are
        return [*begun, *(each for _, each in placed), *whole]


def is_small(path: str, size: int) -> bool:
    """Whether a file is none of the weights, and short enough to be read before them."""
    return size <= SMALL and not is_pickle(path) and not path.lower().endswith(_OTHER_WEIGHTS)
