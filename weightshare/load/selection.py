"""Which tensors of a release are wanted, and which part of each: by name, and as one rank of several.

Nothing here reads a file. A selection chooses tensors by name, says which bytes of a shard its tensors are, and which
pieces hold those bytes: the pieces are what is fetched, read, hashed and compared, since a piece is the least that can
be proven alone (see `docs/adr/0014-a-part-of-a-release.md`).

A tensor that is split along its first dimension gives each rank one run of bytes, so that all ranks together read it
once, and the pieces on their borders twice. Split along a later dimension, a rank's part is strewn over the whole
tensor: unless a stride is longer than a piece, every rank reads all of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import prod
from types import MappingProxyType

from weightshare.content.safetensors_header import DTYPE_BITS, TensorInfo
from weightshare.errors import UsageError

Dims = Mapping[str, "int | Split"] | Callable[[str], "int | Split | None"]
"""Which tensors are split, and how: by name or glob, or a function of the name."""

_WILD = frozenset("*?[")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Split:
    """How a tensor is shared among ranks.

    Attributes:
        dim: the dimension that is cut; a negative one counts from the last.
        parts: how many tensors lie packed behind each other along it, each of which is cut for itself.
    """

    dim: int
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Strided:
    """Runs of bytes at equal distances.

    Attributes:
        start: offset of the first into the file.
        length: bytes of each.
        stride: bytes from one to the next.
        count: how many.
    """

    start: int
    length: int
    stride: int
    count: int

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self.start + (self.count - 1) * self.stride + self.length if self.count else self.start

    def pieces(self, piece_length: int) -> Iterator[range]:
        """The pieces of the file that hold these bytes, as ranges that ascend and may touch or overlap."""
        if not self.length or not self.count:
            return
        if self.stride - self.length < piece_length:  # no piece lies between two runs
            yield range(self.start // piece_length, (self.end - 1) // piece_length + 1)
            return
        for i in range(self.count):
            at = self.start + i * self.stride
            yield range(at // piece_length, (at + self.length - 1) // piece_length + 1)


@dataclass(frozen=True, slots=True)
class Part:
    """What is wanted of one tensor.

    Attributes:
        info: the tensor, as the header says.
        dim: the dimension that is cut; 0 where none is.
        intervals: begin and end along it, ascending; the whole dimension where none is cut.
        runs: the bytes, by interval.
    """

    info: TensorInfo
    dim: int
    intervals: tuple[tuple[int, int], ...]
    runs: tuple[Strided, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the part."""
        if not self.info.shape:
            return ()
        length = sum(end - begin for begin, end in self.intervals)
        return (*self.info.shape[: self.dim], length, *self.info.shape[self.dim + 1 :])

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(run.length * run.count for run in self.runs)

    @property
    def whole(self) -> bool:
        """Whether it is all of the tensor."""
        return self.size == self.info.size

    @property
    def contiguous(self) -> bool:
        """Whether it lies in the file as one run of bytes."""
        return len(self.runs) <= 1 and all(run.count <= 1 for run in self.runs)


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of tensors, and a rank's part of each.

    Attributes:
        include: names or globs (`*` matches dots too); none means all. Each must match a tensor.
        exclude: likewise, applied after `include`; these need not match.
        rank: which part, from 0.
        of: how many ranks there are; with 1 every tensor is whole.
        dims: name or glob to how such a tensor is split; a name counts before a glob, and of several globs the first.
            Or what tells it for a name, None for a tensor that is not split: `run.parallel` has transformers' plan.
            What is not split is whole on each rank. Along a dimension of d, each rank has ceil(d / of), and the last
            ones what is left, which may be nothing: as `torch.chunk` and transformers do.

    Raises:
        UsageError: no such rank.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rank: int = 0
    of: int = 1
    dims: Dims = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.of < 1 or not 0 <= self.rank < self.of:
            raise UsageError(
                f"There is no rank {self.rank} of {self.of}.",
                hint="Ranks count from 0: of two, they are 0 and 1.",
            )

    @property
    def everything(self) -> bool:
        """Whether it leaves nothing out."""
        return not self.include and not self.exclude and self.of == 1

    def chooses(self, name: str) -> bool:
        """Whether a tensor of this name is wanted."""
        wanted = not self.include or any(_matches(name, pattern) for pattern in self.include)
        return wanted and not any(_matches(name, pattern) for pattern in self.exclude)

    def require(self, names: Collection[str], release: str) -> None:
        """Refuse a selection that does not mean what its author thought.

        Args:
            names: of all tensors of the release.
            release: what it is called.

        Raises:
            UsageError: a name or glob matches no tensor, or nothing is left. Facts: `missing`.
        """
        missing = [
            pattern
            for pattern in self.include
            if pattern not in names and not any(fnmatchcase(name, pattern) for name in names)
        ]
        if missing:
            near = difflib.get_close_matches(missing[0], list(names), n=_SHOWN, cutoff=0.5)
            shown = f"Did you mean {' or '.join(near)}?" if near else f"Its tensors are {_some(names)}."
            more = f", nor one for {len(missing) - 1} others" if len(missing) > 1 else ""
            raise UsageError(
                f"{release} has no tensor {missing[0]!r}{more}.", hint=shown, missing=missing, near=near
            )
        if not any(self.chooses(name) for name in names):
            raise UsageError(
                f"No tensor of {release} is left by the names that were given.",
                hint=f"Its tensors are {_some(names)}.",
            )

    def part_of(self, info: TensorInfo) -> Part:
        """What this rank has of a tensor.

        Raises:
            UsageError: it has no such dimension, or cannot be cut there. Facts: `tensor`.
        """
        split = self._split(info.name) if self.of > 1 else None
        if split is None:
            whole = ((0, info.shape[0] if info.shape else 1),)
            return Part(info, 0, whole, (Strided(info.start, info.size, info.size, 1),))
        dims = len(info.shape)
        dim = split.dim + dims if split.dim < 0 else split.dim
        if not 0 <= dim < dims:
            raise UsageError(
                f"The tensor {info.name} has {dims} dimensions, so it cannot be split along dimension {split.dim}.",
                hint="Leave it out of `dims`: then each rank has all of it.",
                tensor=info.name,
            )
        intervals = tuple(chunks(info.shape[dim], split.parts, self.rank, self.of))
        return Part(info, dim, intervals, _runs(info, dim, intervals))

    def parts(self, tensors: Iterable[TensorInfo]) -> list[Part]:
        """The parts of those tensors that are wanted, in their order.

        Raises:
            UsageError: as for `part_of`.
        """
        return [self.part_of(info) for info in tensors if self.chooses(info.name)]

    def _split(self, name: str) -> Split | None:
        found: int | Split | None
        if not isinstance(self.dims, Mapping):
            found = self.dims(name)
        elif name in self.dims:
            found = self.dims[name]
        else:
            found = next((split for glob, split in self.dims.items() if _matches(name, glob)), None)
        return Split(found) if isinstance(found, int) else found


def chunks(length: int, parts: int, rank: int, of: int) -> Iterator[tuple[int, int]]:
    """Begin and end, along a dimension, of what a rank has of each of the tensors packed along it.

    Args:
        length: of the dimension.
        parts: how many tensors are packed along it.
        rank: whose share.
        of: how many ranks there are.
    """
    width = -(-length // parts)
    for first in range(0, length, width or 1):
        last = min(first + width, length)
        share = -(-(last - first) // of)
        begin = min(first + rank * share, last)
        end = min(begin + share, last)
        if begin < end:
            yield begin, end


def pieces_of(parts: Iterable[Part], piece_length: int) -> list[range]:
    """The pieces of a shard that hold these parts: ranges that ascend and do not touch.

    Args:
        parts: of tensors of one shard.
        piece_length: bytes.
    """
    found = (pieces for part in parts for run in part.runs for pieces in run.pieces(piece_length))
    return merged(found)


def merged(ranges: Iterable[range]) -> list[range]:
    """The same numbers as ranges that ascend and do not touch."""
    found: list[range] = []
    for each in sorted(ranges, key=lambda each: each.start):
        if found and each.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, each.stop))
        elif each:
            found.append(each)
    return found


def _runs(info: TensorInfo, dim: int, intervals: Sequence[tuple[int, int]]) -> tuple[Strided, ...]:
    bits = DTYPE_BITS[info.dtype]
    inner = prod(info.shape[dim + 1 :]) * bits
    outer = prod(info.shape[:dim])
    stride = info.shape[dim] * inner
    found = []
    for begin, end in intervals:
        if begin * inner % 8 or end * inner % 8 or (outer > 1 and stride % 8):
            raise UsageError(
                f"The tensor {info.name} ({info.dtype}) cannot be split along dimension {dim}: an item of {bits} "
                "bits would be cut off from the one that it shares a byte with.",
                hint="Leave it out of `dims`: then each rank has all of it.",
                tensor=info.name,
            )
        length = (end - begin) * inner // 8
        start = info.start + begin * inner // 8
        if length * outer:
            # What spans the whole dimension is one run, however many rows it has.
            solid = length * 8 == stride or outer == 1
            one = Strided(start, length * outer, length * outer, 1)
            found.append(one if solid else Strided(start, length, stride // 8, outer))
    return tuple(found)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or (not _WILD.isdisjoint(pattern) and fnmatchcase(name, pattern))


def _some(names: Collection[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
