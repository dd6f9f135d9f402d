"""Weights that are loaded while they arrive: each piece is read, hashed and put in its place as soon as it can be.

The proof is that of every load: over the bytes that were put there, against the signed root. What the fetch says of a
piece decides only when to look. A piece that is not the signed one when it is looked at is read once more after the
fetch has read it back and proven it, for another program may have written there meanwhile, and the fetch brings it
anew; if it still differs, the load fails as every load does.

Bytes go to memory of our own, and on a device through the slots of its loader: a file that is still written to can hold
no read lease, so it is not mapped. A descriptor opened while a file was staged stays good when it gets its name.

One thread does it, and it asks the holder for a few pieces at a time. On two cores it hashes alone, and leaves the
other core to the network.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from weightshare.content.safetensors_header import LENGTH_SIZE, Header, header_length, parse_header
from weightshare.content.workers import usable_cores
from weightshare.errors import CorruptError, DeviceError
from weightshare.load.arrivals import Arrivals
from weightshare.load.copied import Copied, FlatDevice
from weightshare.load.loader import LoadedState, Mode, _holder, _tensors, choose
from weightshare.load.meter import Meter
from weightshare.load.opened import OpenFile, open_file
from weightshare.load.plan import INDEX, Plan, make_plan
from weightshare.load.proof import ShardProof, Stretch, check, proof_of
from weightshare.progress import Observer, ignore
from weightshare.units import MIB, format_size

if TYPE_CHECKING:
    from weightshare.load.holders import Holder
    from weightshare.trust.gate import VerifiedManifest

_AT_ONCE = 32 * MIB
"""Bytes hashed before it is looked again at what has arrived."""
_TRIES = 2

Early = Callable[[Mapping[str, torch.Tensor]], None]
"""Given tensors without content: where the weights will be. Nobody may believe them before the load is done."""


class _Zeroed(FlatDevice):
    """Host memory that reads as zeros where nothing has been put yet; the system clears it page by page at its use."""

    def allocate(self, size: int) -> torch.Tensor:
        """A buffer of zeros."""
        try:
            return torch.zeros(size, dtype=torch.uint8)
        except RuntimeError as error:
            raise DeviceError(
                f"There is no memory for {format_size(size)} of weights.",
                hint="Fetch it first; loading what is here maps the files, and needs no memory for them.",
                device="cpu",
                needed=size,
            ) from error


class StreamingLoad:
    """The load of one release while it is fetched.

    Args:
        verified: the release's manifest, from the gate.
        arrivals: told by the fetch.
        locations: where each file lies while it is fetched.
        layers: piece layers by pieces root; without a file's, its pieces are loaded as they arrive all the same, but
            neither its header nor a tensor is believed before all of it is here.
        device: as for `loader.state_dict`.
        mode: `auto`, or `private`, which it is in any case.
        workers: threads that hash; half the cores by default.
        observe: told how many bytes are proven.
        early: called from the load's thread when the headers of all shards are proven.
    """

    def __init__(
        self,
        verified: VerifiedManifest,
        arrivals: Arrivals,
        locations: Mapping[str, Path],
        *,
        layers: Mapping[bytes, bytes],
        device: str = "auto",
        mode: Mode = "auto",
        workers: int | None = None,
        observe: Observer = ignore,
        early: Early = lambda _: None,
    ) -> None:
        self._verified = verified
        self._arrivals = arrivals
        self._locations = locations
        self._layers = layers
        self._wanted = device, mode
        self._workers = workers or max(1, usable_cores() // 2)
        self._observe = observe
        self._early = early
        self._waiting: dict[str, list[int]] = {}  # readable pieces of files, until the shards are known
        self._told: dict[str, set[int]] = {}  # pieces that the fetch has proven
        self._ready: deque[tuple[int, int]] = deque()  # shard and piece, to be read
        self._doubted: set[tuple[int, int]] = set()  # to be read once more
        self._tries: dict[tuple[int, int], int] = {}  # how often they were
        self._all_ready = False
        self._done: set[int] = set()  # shards that are proven

    def run(self) -> LoadedState:
        """Load; returns when all is proven.

        Raises:
            Aborted: the load is not wanted any more.
            WeightshareError: as of `loader.state_dict`.
        """
        started = time.monotonic()
        device, _ = choose(*self._wanted)
        plan = self._plan()
        with ExitStack() as stack:
            files = [OpenFile(entry, Path(), -1, (0, 0, 0, 0, 0)) for entry in plan.shards]
            for file in files:
                stack.callback(file.close)
                if not file.entry.size:
                    parse_header(b"", 0, file.path)  # refuses
            holder = self._hold(files, device)
            stack.callback(holder.close)
            headers = self._fill(holder, plan, files)
            tensors = _tensors(holder, plan, headers)
            holder.settle()
            stack.pop_all()
        notes = (*holder.notes, *(warning for header in headers for warning in header.warnings))
        return LoadedState(
            tensors,
            plan.size,
            time.monotonic() - started,
            "private",
            device,
            notes,
            tensor_bytes=sum(tensor.nbytes for tensor in tensors.values()),
            _holder=holder,
        )

    def _hold(self, files: Sequence[OpenFile], device: str) -> Holder:
        piece_length = self._verified.manifest.torrent.piece_length
        if device == "cpu":
            return Copied(files, piece_length, self._workers, _Zeroed(device))
        # Hashed in host memory: a network brings less than that can do, and pieces come too singly for a GPU.
        holder = _holder(files, piece_length, self._workers, device, "private")
        for shard in range(len(files)):
            holder.flat(shard).zero_()
        return holder

    def _plan(self) -> Plan:
        """Wait until it can be said which files are the shards: for the index, if there is one."""
        manifest = self._verified.manifest
        index = [entry.path for entry in manifest.files if entry.path == INDEX]
        while True:
            if self._arrivals.here(index):
                try:
                    return make_plan(manifest, *self._places())
                except CorruptError:
                    if self._arrivals.here(index, proven=True):
                        raise
            self._listen(wait=True)

    def _places(self) -> tuple[Path, Mapping[str, Path]]:
        ended = self._arrivals.ended
        return (Path(), self._locations) if ended is None else (ended, {})

    def _listen(self, *, wait: bool) -> None:
        for each in self._arrivals.take(wait=wait):
            if each.proven:
                self._told.setdefault(each.path, set()).add(each.number)
            else:
                self._waiting.setdefault(each.path, []).append(each.number)

    # ---- pieces

    def _fill(self, holder: Holder, plan: Plan, files: Sequence[OpenFile]) -> list[Header]:
        """Put every piece in its place and prove it; returns the headers, each from proven bytes."""
        piece_length = self._verified.manifest.torrent.piece_length
        proofs = [proof_of(entry, i, piece_length, self._layers) for i, entry in enumerate(plan.shards)]
        shards = {entry.path: i for i, entry in enumerate(plan.shards)}
        meter = Meter(plan.size, self._observe)
        headers: dict[int, Header] = {}
        while len(self._done) < len(proofs):
            self._listen(wait=False)
            self._line_up(proofs, shards, files)
            if not self._ready:
                self._listen(wait=True)
                continue
            for proof in self._prove(holder, files, proofs, meter):
                self._judge(proof)
            check(proofs, whole=False)
            if len(headers) < len(proofs):
                self._head(holder, proofs, headers)
                if len(headers) == len(proofs):
                    self._early(_tensors(holder, plan, [headers[i] for i in range(len(proofs))]))
        return [headers[i] for i in range(len(proofs))]

    def _line_up(
        self, proofs: Sequence[ShardProof], shards: Mapping[str, int], files: Sequence[OpenFile]
    ) -> None:
        """Find out which pieces can be read now, and have not been or are doubted."""
        for path in self._waiting.keys() & shards.keys():
            self._ready.extend((shards[path], piece) for piece in self._waiting.pop(path))
        if self._arrivals.ended is not None and not self._all_ready:
            self._all_ready = True  # should a word of the fetch have been lost
            self._ready.extend((proof.shard, piece) for proof in proofs for piece in range(proof.pieces))
        self._retry(proofs, files)

    def _prove(
        self, holder: Holder, files: Sequence[OpenFile], proofs: Sequence[ShardProof], meter: Meter
    ) -> list[ShardProof]:
        """Read and hash some of the pieces that are ready; the proofs that know more now."""
        left: dict[tuple[int, int], Stretch] = {}
        size = 0
        while self._ready and size < _AT_ONCE:
            shard, piece = key = self._ready.popleft()
            if piece in proofs[shard].hashes or key in left or key in self._doubted:
                continue
            if files[shard].fd < 0:
                self._open(files[shard])
            left[key] = next(proofs[shard].stretches(piece, piece + 1))
            size += left[key].length
        seen: set[int] = set()
        groups = [list(left.values())] if left else []
        while groups:
            group = groups.pop()
            try:
                for stretch, hashes in holder.prove(group):
                    proofs[stretch.shard].accept(stretch, hashes)
                    if (stretch.shard, stretch.first) not in self._tries:
                        meter.add(stretch.length)
                    del left[stretch.shard, stretch.first]
                    seen.add(stretch.shard)
            except CorruptError as error:  # somebody cut the file
                if len(group) > 1:
                    groups = [[stretch] for stretch in left.values()]
                    continue
                if not self._may_try(group[0].shard, group[0].first):
                    raise error from None
                self._doubt(proofs[group[0].shard], group[0].first)
        return [proofs[shard] for shard in sorted(seen)]

    def _judge(self, proof: ShardProof) -> None:
        """Doubt what was read and is not the signed piece; it is wrong if it was read again since."""
        for piece in list(proof.bad):
            if self._may_try(proof.shard, piece):
                proof.bad.remove(piece)
                self._doubt(proof, piece)
        if len(proof.hashes) < proof.pieces or proof.bad:
            return
        if proof.whole:
            self._done.add(proof.shard)
        elif self._may_try(proof.shard, 0):  # some piece is wrong, and nobody can say which
            for piece in range(proof.pieces):
                self._doubt(proof, piece)
        else:
            check([proof], whole=True)

    def _may_try(self, shard: int, piece: int) -> bool:
        """Whether a piece may be read again: once after it was proven, and once at the end, should it come anew."""
        return self._tries.get((shard, piece), 0) < _TRIES

    def _doubt(self, proof: ShardProof, piece: int) -> None:
        proof.hashes.pop(piece, None)
        self._doubted.add((proof.shard, piece))

    def _retry(self, proofs: Sequence[ShardProof], files: Sequence[OpenFile]) -> None:
        """Read once more what is doubted and the fetch has proven since."""
        ended = self._arrivals.ended is not None
        for shard, piece in sorted(self._doubted):
            told = self._told.get(proofs[shard].entry.path, set())
            known = piece in told if proofs[shard].layer is not None else len(told) == proofs[shard].pieces
            tries = self._tries.get((shard, piece), 0)
            if not ended and (tries or not known):
                continue
            self._doubted.discard((shard, piece))
            self._tries[shard, piece] = _TRIES if ended else tries + 1
            self._ready.append((shard, piece))
            files[shard].close()  # what lies there now may be another file

    def _open(self, file: OpenFile) -> None:
        folder, locations = self._places()
        try:
            found = open_file(file.entry, folder, locations, growing=True)
        except CorruptError:
            # It has its final name just now, or it is gone; the end of the fetch says which.
            self._wait_for_end()
            found = open_file(file.entry, *self._places(), growing=True)
        file.location, file.fd, file.stamp = found.location, found.fd, found.stamp

    def _wait_for_end(self) -> None:
        while self._arrivals.ended is None:
            self._listen(wait=True)

    # ---- headers

    def _head(self, holder: Holder, proofs: Sequence[ShardProof], headers: dict[int, Header]) -> None:
        """Parse the headers whose pieces are proven by now."""
        for proof in proofs:
            if (
                proof.shard in headers
                or 0 not in proof.hashes
                or (proof.layer is None and proof.shard not in self._done)
            ):
                continue
            entry = proof.entry
            length = header_length(holder.prefix(proof.shard, LENGTH_SIZE), entry.size, entry.path)
            if all(piece in proof.hashes for piece in range(-(-length // proof.piece_length))):
                headers[proof.shard] = parse_header(
                    holder.prefix(proof.shard, length), entry.size, entry.path
                )
