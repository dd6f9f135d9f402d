"""Loading a selection: only its pieces are read, hashed and compared, and no tensor exists before they are proven.

A shard's header is proven before it is parsed, and says which pieces the selection needs. A piece can be proven alone
where the file's piece layer is known. Where it is not, the whole file is hashed once, which gives the layer; what is
read after that is held against it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from weightshare.content.safetensors_header import (
    LENGTH_SIZE,
    Header,
    TensorInfo,
    header_length,
    parse_header,
)
from weightshare.errors import CheckpointError
from weightshare.load.meter import Meter
from weightshare.load.part_sources import PartSource
from weightshare.load.plan import Plan
from weightshare.load.proof import ShardProof, Stretch, check
from weightshare.load.selection import Part, Selection, merged, pieces_of
from weightshare.load.views import tensor_of
from weightshare.units import MIB

PASSING = 64 * MIB
"""About as many bytes of tensors that are cut along a later dimension are held at a time, beside the parts."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What was loaded.

    Attributes:
        tensors: the parts, by name.
        proven: bytes of the pieces that were proven, each counted once.
        notes: what a careful user wants to know.
    """

    tensors: dict[str, torch.Tensor]
    proven: int
    notes: tuple[str, ...]


def load_selected(
    source: PartSource,
    plan: Plan,
    proofs: Sequence[ShardProof],
    selection: Selection,
    release: str,
    meter: Meter,
) -> Selected:
    """Prove and load the parts of a selection.

    Args:
        source: holds the shards' bytes.
        plan: the shards, narrowed to those that are needed.
        proofs: one for each shard.
        selection: what is wanted.
        release: what it is called.
        meter: told how many bytes are proven.

    Raises:
        CorruptError: bytes of the header, or of pieces that the selection needs, are not what was signed.
        SafetensorsError: a shard that is as signed, but no safetensors file.
        CheckpointError: shards and index do not agree.
        UsageError: the selection does not fit the release.
        UnsupportedModelError: a dtype that torch does not have.
    """
    return _Loading(source, plan, proofs, selection, release, meter).run()


class _Loading:
    def __init__(
        self,
        source: PartSource,
        plan: Plan,
        proofs: Sequence[ShardProof],
        selection: Selection,
        release: str,
        meter: Meter,
    ) -> None:
        self._source = source
        self._plan = plan
        self._proofs = proofs
        self._selection = selection
        self._release = release
        self._meter = meter
        self._notes: list[str] = []

    def run(self) -> Selected:
        headers = self._headers()
        check_names(self._plan, headers)
        found = {info.name: info for header in headers for info in header.tensors}
        if not self._plan.index:
            self._selection.require(found.keys(), self._release)
        parts = [self._selection.parts(header.tensors) for header in headers]
        self._note_splits([part for each in parts for part in each])
        tensors = self._load(parts)
        ordered = {name: tensors[name] for name in found if name in tensors}
        warnings = [warning for header in headers for warning in header.warnings]
        proven = sum(
            min((piece + 1) * proof.piece_length, proof.entry.size) - piece * proof.piece_length
            for proof in self._proofs
            for piece in proof.hashes
        )
        return Selected(ordered, proven, (*self._notes, *warnings))

    # ---- headers

    def _headers(self) -> list[Header]:
        bare = [proof for proof in self._proofs if proof.layer is None]
        self._meter.expect(sum(proof.entry.size for proof in bare))
        self._prove([(proof, range(proof.pieces)) for proof in bare], whole=True)
        for proof in bare:
            # The root over these hashes is the signed one, so from now on they are the layer.
            proof.layer = [proof.hashes[piece] for piece in range(proof.pieces)]
        if bare:
            more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
            self._notes.append(
                f"{bare[0].entry.path}{more}: its piece hashes are not known here, so all of it was proven, and not "
                "only what was asked for. A fetch by the .torrent, or of the whole release, leaves them here."
            )
        self._bring([(proof, range(1)) for proof in self._proofs])
        lengths = [
            header_length(self._prefix(proof, LENGTH_SIZE), proof.entry.size, proof.entry.path)
            for proof in self._proofs
        ]
        stops = [-(-length // p.piece_length) for p, length in zip(self._proofs, lengths, strict=True)]
        if any(stop > 1 for stop in stops):
            self._source.drop()
            wanted = [(p, range(stop)) for p, stop in zip(self._proofs, stops, strict=True)]
            self._meter.expect(self._size(wanted))
            self._bring(wanted)
        headers = [
            parse_header(self._prefix(proof, length), proof.entry.size, proof.entry.path)
            for proof, length in zip(self._proofs, lengths, strict=True)
        ]
        self._source.drop()
        return headers

    def _prefix(self, proof: ShardProof, length: int) -> bytes:
        data: bytes = self._source.region(proof.shard, 0, length).numpy().tobytes()
        return data

    # ---- tensors

    def _load(self, parts: Sequence[Sequence[Part]]) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {}
        straight = [[part for part in each if part.contiguous] for each in parts]
        wanted = [
            (proof, pieces)
            for proof, each in zip(self._proofs, straight, strict=True)
            for pieces in pieces_of(each, proof.piece_length)
        ]
        strewn = [
            (proof, part)
            for proof, each in zip(self._proofs, parts, strict=True)
            for part in each
            if not part.contiguous
        ]
        self._meter.expect(self._size(wanted) + sum(self._size(_needs(*each)) for each in strewn))
        self._bring(wanted, keep=True)
        for proof, each in zip(self._proofs, straight, strict=True):
            for part in each:
                run = part.runs[0] if part.runs else None
                data = self._source.region(proof.shard, run.start if run else 0, run.end if run else 0)
                tensors[part.info.name] = tensor_of(data, _moved(part), proof.entry.path)
        for batch in _batches(strewn):
            self._bring(_merged(need for each in batch for need in _needs(*each)))
            for proof, part in batch:
                data = self._gathered(proof, part)
                tensors[part.info.name] = tensor_of(data, _moved(part), proof.entry.path)
            self._source.drop()
        return tensors

    def _gathered(self, proof: ShardProof, part: Part) -> torch.Tensor:
        """The bytes of a part that does not lie in one run, as a copy in which it does."""
        rows = part.runs[0].count
        width = sum(run.length for run in part.runs)
        into: torch.Tensor | None = None
        at = 0
        for run in part.runs:
            data = self._source.region(proof.shard, run.start, run.end)
            if into is None:
                into = torch.empty((rows, width), dtype=torch.uint8, device=data.device)
            into[:, at : at + run.length] = data.as_strided((rows, run.length), (run.stride, 1))
            at += run.length
        assert into is not None  # noqa: S101 - a part without bytes is contiguous
        return self._source.placed(into.view(-1))

    def _note_splits(self, parts: Sequence[Part]) -> None:
        if self._selection.of == 1:
            return
        if all(part.whole for part in parts):
            self._notes.append(
                f"None of the tensors asked for is split: each of {self._selection.of} ranks has all of them."
            )
        strewn = [part for part in parts if not part.contiguous]
        if strewn:
            self._notes.append(
                f"{len(strewn)} of {len(parts)} tensors are cut along a later dimension ({strewn[0].info.name}): "
                "a rank's part of them is strewn over nearly all of their pieces, which each rank reads and proves."
            )

    # ---- proof

    def _bring(self, wanted: Sequence[tuple[ShardProof, range]], *, keep: bool = False) -> None:
        """Prove these pieces, and hold them."""
        stretches = [s for proof, pieces in wanted for s in proof.stretches(pieces.start, pieces.stop)]
        self._source.make_room(stretches, keep=keep)
        self._prove(wanted)

    def _prove(self, wanted: Sequence[tuple[ShardProof, range]], *, whole: bool = False) -> None:
        stretches: list[Stretch] = []
        for proof, pieces in wanted:
            done = proof.hashes.keys() if self._source.lasting else frozenset()
            for run in _without(pieces, done):
                stretches += proof.stretches(run.start, run.stop)
        for stretch, hashes in self._source.prove(stretches):
            self._proofs[stretch.shard].accept(stretch, hashes)
            self._meter.add(stretch.length)
        check([proof for proof, _ in wanted] if whole else self._proofs, whole=whole)

    def _size(self, wanted: Iterable[tuple[ShardProof, range]]) -> int:
        """Bytes that are still to be proven."""
        size = 0
        for proof, pieces in wanted:
            done = proof.hashes.keys() if self._source.lasting else frozenset()
            for run in _without(pieces, done):
                size += min(run.stop * proof.piece_length, proof.entry.size) - run.start * proof.piece_length
        return size


def first_bytes(proofs: Sequence[ShardProof]) -> int:
    """Bytes of the shards' first pieces, which are needed in any case."""
    return sum(min(proof.piece_length, proof.entry.size) for proof in proofs)


def check_names(plan: Plan, headers: Sequence[Header]) -> None:
    """Hold the names in the shards against each other and against the index.

    Raises:
        CheckpointError: a tensor is in two shards, or not in the one that the index says. Facts: `path`.
    """
    owner: dict[str, str] = {}
    for entry, header in zip(plan.shards, headers, strict=True):
        for info in header.tensors:
            if info.name in owner:
                raise CheckpointError(
                    f"The tensor {info.name} is both in {owner[info.name]} and in {entry.path}.",
                    hint="The publisher must publish the checkpoint again, with each tensor once.",
                    path=entry.path,
                )
            owner[info.name] = entry.path
    for name, path in plan.index.items():
        if owner.get(name) != path:
            raise CheckpointError(
                f"The index says that the tensor {name} is in {path}, which does not have it.",
                hint="The publisher must publish the checkpoint again, whole.",
                path=path,
            )


def _moved(part: Part) -> TensorInfo:
    """The tensor that a part is, in bytes that begin with it."""
    return TensorInfo(part.info.name, part.info.dtype, part.shape, 0, part.size)


def _needs(proof: ShardProof, part: Part) -> list[tuple[ShardProof, range]]:
    return [(proof, pieces) for pieces in pieces_of([part], proof.piece_length)]


def _merged(wanted: Iterable[tuple[ShardProof, range]]) -> list[tuple[ShardProof, range]]:
    by_shard: dict[int, tuple[ShardProof, list[range]]] = {}
    for proof, pieces in wanted:
        by_shard.setdefault(proof.shard, (proof, []))[1].append(pieces)
    return [(proof, pieces) for proof, found in by_shard.values() for pieces in merged(found)]


def _batches(strewn: Sequence[tuple[ShardProof, Part]]) -> Iterator[list[tuple[ShardProof, Part]]]:
    batch: list[tuple[ShardProof, Part]] = []
    size = 0
    for proof, part in strewn:
        if batch and size + part.info.size > PASSING:
            yield batch
            batch, size = [], 0
        batch.append((proof, part))
        size += part.info.size
    if batch:
        yield batch


def _without(pieces: range, done: Collection[int] | Mapping[int, bytes]) -> Iterator[range]:
    """What is left of a range without these, as ranges."""
    if not done:
        yield pieces
        return
    start = None
    for piece in pieces:
        if piece not in done and start is None:
            start = piece
        elif piece in done and start is not None:
            yield range(start, piece)
            start = None
    if start is not None:
        yield range(start, pieces.stop)
