"""A verified release's weights as tensors: the way into this package."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from weightshare.content.safetensors_header import LENGTH_SIZE, Header, header_length, parse_header
from weightshare.content.workers import usable_cores
from weightshare.errors import DeviceError, MissingExtraError, UsageError
from weightshare.load.meter import Meter
from weightshare.load.opened import OpenFile, open_file
from weightshare.load.plan import Plan, make_plan, narrowed
from weightshare.load.proof import ShardProof, Stretch, check, proof_of
from weightshare.load.trusted import has_receipt
from weightshare.progress import Observer, ignore
from weightshare.units import format_size

if TYPE_CHECKING:
    import torch

    from weightshare.content.receipts import Receipt
    from weightshare.load.holders import Held, Holder
    from weightshare.load.part_sources import PartSource
    from weightshare.load.selection import Selection
    from weightshare.trust.gate import VerifiedManifest

Mode = Literal["auto", "mapped", "private", "cuda"]
_NONE: Mapping[bytes, bytes] = MappingProxyType({})
_NO_LOCATIONS: Mapping[str, Path] = MappingProxyType({})


@dataclass(slots=True)
class LoadedState:
    """Proven tensors.

    Tensors stay usable for as long as somebody holds them, whether or not this object does; it can say if the
    files behind a mapping are still what was proven, and `close` (or leaving a `with` block) gives back their
    descriptors.

    Attributes:
        tensors: by name, as in the shards.
        bytes: bytes loaded, headers included; of a selection those of all pieces that it touches.
        tensor_bytes: bytes of the tensors handed out.
        seconds: time taken.
        mode: `mapped`, `private` or `cuda`.
        device: where the tensors are, as torch writes it.
        notes: what a careful user wants to know, such as that a file has no read lease.
        trusted_bytes: those of `bytes` that a receipt alone stood for, and nobody hashed; 0 unless that was asked for.
    """

    tensors: dict[str, torch.Tensor]
    bytes: int
    seconds: float
    mode: str
    device: str
    notes: tuple[str, ...] = ()
    trusted_bytes: int = 0
    tensor_bytes: int = 0
    _holder: Held | None = field(default=None, repr=False)

    @property
    def proven_bytes(self) -> int:
        """Bytes that were hashed on the way and are what was signed."""
        return self.bytes - self.trusted_bytes

    @property
    def verified(self) -> bool:
        """Whether every byte was."""
        return not self.trusted_bytes

    def check(self) -> None:
        """Raise if the files behind a mapping were written to, or are about to be; a copy is always sound.

        Raises:
            CorruptError: a file's length changed.
            CheckpointError: a file was written to.
        """
        if self._holder is not None:
            self._holder.check()

    def close(self) -> None:
        """Forget the tensors and give back descriptors; a tensor still in use keeps its memory."""
        self.tensors = {}
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def __enter__(self) -> LoadedState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def state_dict(
    verified: VerifiedManifest,
    folder: Path,
    *,
    device: str = "auto",
    mode: Mode = "auto",
    layers: Mapping[bytes, bytes] = _NONE,
    locations: Mapping[str, Path] = _NO_LOCATIONS,
    workers: int | None = None,
    select: Selection | None = None,
    component: str = "",
    allow_pickle: bool = False,
    observe: Observer = ignore,
    receipts: Mapping[str, Receipt] | None = None,
) -> LoadedState:
    """Load a release's shards; no tensor exists before its bytes are proven.

    Without `select` whole shards are proven. With it, only the pieces that hold a header or something of the tensors
    chosen, and only the shards that have some of them need be here.

    Args:
        verified: the release's manifest, from the gate.
        folder: where its files lie.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1` or another device torch knows.
        mode: `mapped` (views of the files; the default on the CPU), `cuda` (copied to a GPU and hashed there; the
            default on one that can), `private` (hashed on the processor, and copied) or `auto`.
        layers: pieces root to the file's piece layer (32-byte hashes in a row). With it, headers are proven
            before they are parsed and the rest after, and an error names the pieces; without it, whole files
            are proven.
        locations: where files really lie that the folder only links to.
        workers: threads or processes that hash; one a core by default.
        select: which tensors, and which rank's part of each; None for all of them, whole.
        component: of a pipeline of several models, the folder of the one to load.
        allow_pickle: whether Mistral's `consolidated.*.pth` may be loaded, see `pickles`.
        observe: told how many bytes are proven.
        receipts: by path, of files that were proven before. A shard whose receipt matches the open descriptor
            is believed to be what it was then, and not hashed; `LoadedState.trusted_bytes` counts it. That sees
            no change below the file system, and none by somebody who can set the clock. Never the default.

    Raises:
        CorruptError: bytes are not what was signed, or a file is missing or cut short. Facts: `path`,
            `pieces`, `tensors`.
        SafetensorsError: a shard that is as signed, but no safetensors file.
        CheckpointError: shards and index do not agree, or a file changed meanwhile.
        UnsupportedModelError: no shards that can be loaded, or a dtype that torch does not have.
        PickleError: the weights are pickles, and those were not allowed.
        DeviceError: the device is not there or too small.
        MissingExtraError: torch is not installed, or for the mode `cuda` what compiles its kernel.
        UsageError: mode and device or mode and selection do not go together, no such component, or the selection does
            not fit the release.
    """
    started = time.monotonic()
    target, chosen = choose(device, mode)
    plan = make_plan(verified.manifest, folder, locations, component=component, allow_pickle=allow_pickle)
    if select is not None and select.everything:
        select = None
    if select is not None:
        plan = narrowed(plan, select, verified.release)
        if mode == "cuda":
            raise UsageError(
                "The mode cuda hashes whole shards on the device, and only some tensors are asked for.",
                hint="Leave the mode out: the processor hashes their pieces, and they are copied to the device.",
            )
        chosen = "private" if chosen == "cuda" else chosen
    piece_length = verified.manifest.torrent.piece_length
    proofs = [proof_of(entry, i, piece_length, layers) for i, entry in enumerate(plan.shards)]
    with ExitStack() as stack:
        files: list[OpenFile] = []
        for entry in plan.shards:
            files.append(open_file(entry, folder, locations))
            stack.callback(files[-1].close)
            if not entry.size:
                parse_header(b"", 0, entry.path)  # refuses: nothing to map, and no safetensors file
        trusted = 0
        holder: Held
        if select is None:
            for proof, file in zip(proofs, files, strict=True):
                proof.trusted = receipts is not None and not plan.pickles and has_receipt(file, receipts)
            holder = whole = _holder(files, piece_length, workers or usable_cores(), target, chosen)
            stack.callback(holder.close)
            meter = Meter(plan.size, observe)
            headers = _prove_pickles(whole, proofs, meter) if plan.pickles else _prove(whole, proofs, meter)
            tensors = _tensors(whole, plan, headers)
            size, notes = plan.size, tuple(warning for header in headers for warning in header.warnings)
            trusted = sum(proof.entry.size for proof in proofs if proof.trusted)
            if trusted:
                notes = (_trust_note(trusted, size), *notes)
        elif plan.pickles:
            raise UsageError(
                f"{verified.release}: of weights in pickles all are loaded, or none.",
                hint="Ask for no tensors by name, and for one rank of one.",
            )
        else:
            from weightshare.load.selected import first_bytes, load_selected

            holder, source = _parts(files, piece_length, workers or usable_cores(), target, chosen)
            stack.callback(holder.close)
            meter = Meter(first_bytes(proofs), observe)
            found = load_selected(source, plan, proofs, select, verified.release, meter)
            tensors, size, notes = found.tensors, found.proven, found.notes
        holder.settle()
        stack.pop_all()
    return LoadedState(
        tensors,
        size,
        time.monotonic() - started,
        chosen,
        target,
        (*holder.notes, *notes),
        trusted_bytes=trusted,
        tensor_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        _holder=holder,
    )


def choose(device: str, mode: str) -> tuple[str, str]:
    """The device and mode that `auto` stands for here.

    Raises:
        DeviceError: no such device, or the mode `cuda` on one that is none of CUDA's. Facts: `device`.
        MissingExtraError: torch is not installed, or for the mode `cuda` what compiles its kernel.
        UsageError: mode and device do not go together.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f"Loading weights needs the Python package {error.name or 'torch'}, which is not installed.",
            hint="Install it: pip install 'weightshare[run]'",
            package=error.name or "torch",
        ) from error
    if mode not in ("auto", "mapped", "private", "cuda"):
        raise UsageError(f"{mode!r} is not a mode.", hint="Modes are auto, mapped, private and cuda.")
    if device == "auto":
        device = "cuda" if mode == "cuda" or (mode == "auto" and torch.cuda.is_available()) else "cpu"
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DeviceError(
            f"The device {device!r} cannot be used: {reason}.",
            hint="`--device cpu` always works.",
            device=device,
        ) from error
    on_cpu = found.type == "cpu"
    name = "cpu" if on_cpu else str(found)
    if mode == "cuda" and not name.startswith("cuda"):
        raise UsageError(
            f"The mode cuda does not go with the device {name}.", hint="Leave the mode out, or use private."
        )
    if mode == "mapped" and not on_cpu:
        raise UsageError(
            f"The mode mapped is for the CPU; on {name} the weights are copied.", hint="Leave the mode out."
        )
    if on_cpu:
        return name, "mapped" if mode == "auto" else mode
    if found.type != "cuda" or mode == "private":
        return name, "private"
    return name, _mode_on_cuda(name, mode, _lack())


def _mode_on_cuda(name: str, mode: str, lack: str | None) -> str:
    """The mode for a CUDA device that lacks something or nothing: never a slower one than was asked for by name."""
    if lack is None or mode == "auto":
        return "private" if lack else "cuda"
    if lack == _ROCM:
        raise DeviceError(
            f"{name} cannot hash: {lack}.", hint="Leave the mode out; the processor hashes.", device=name
        )
    raise MissingExtraError(
        f"Hashing on the GPU needs the Python package {lack}, which is not installed.",
        hint="Install it (pip install 'weightshare[cuda]'), or leave the mode out: the processor hashes then.",
        package=lack,
    )


_ROCM = "torch is built for ROCm, and the hash kernel for CUDA"


def _lack() -> str | None:
    """Why a CUDA device cannot hash here: the package that is missing, or another reason; None if it can."""
    import torch

    from weightshare.load.sha256_cuda import missing_package

    return _ROCM if torch.version.hip else missing_package()


def _holder(files: Sequence[OpenFile], piece_length: int, workers: int, device: str, mode: str) -> Holder:
    if mode == "mapped":
        from weightshare.load.mapped import Mapped

        return Mapped(files, piece_length, workers)
    if mode == "cuda":
        from weightshare.load.cuda import OnDevice
        from weightshare.load.device import open_hashing_device

        return OnDevice(files, piece_length, workers, open_hashing_device(device))
    if device == "cpu":
        from weightshare.load.private import Private

        return Private(files, piece_length, workers)
    from weightshare.load.device import open_device
    from weightshare.load.staged import Staged

    return Staged(files, piece_length, workers, open_device(device), _slower(device))


def _slower(device: str) -> list[str]:
    """What to note when a CUDA device could hash and does not."""
    lack = _lack() if device.startswith("cuda") else None
    if lack is None:
        return []
    reason = lack if lack == _ROCM else f"{lack} is not installed (pip install 'weightshare[cuda]')"
    return [f"Hashed on the processor and not on {device}, which is slower: {reason}."]


def _parts(
    files: Sequence[OpenFile], piece_length: int, workers: int, device: str, mode: str
) -> tuple[Held, PartSource]:
    """What holds the parts of a selection: what is to be settled and closed, and where the bytes come from."""
    from weightshare.load.part_sources import CopiedParts, MappedParts

    if mode == "mapped":
        from weightshare.load.mapped import Mapped

        mapped = Mapped(files, piece_length, workers)
        return mapped, MappedParts(mapped)
    copied = CopiedParts(files, piece_length, workers, device)
    return copied, copied


def _trust_note(trusted: int, size: int) -> str:
    return (
        f"{format_size(trusted)} of {format_size(size)} were not hashed: receipts say that the files are unchanged "
        "since they were proven. A receipt sees no fault of the disk, and no change by whoever can set the clock."
    )


def _prove(holder: Holder, proofs: Sequence[ShardProof], meter: Meter) -> list[Header]:
    """Prove all shards and parse their headers, each from proven bytes, and as early as those are proven."""

    def take(stretches: Sequence[Stretch]) -> None:
        for stretch, hashes in holder.prove(stretches):
            proofs[stretch.shard].accept(stretch, hashes)
            meter.add(stretch.length)

    # A shard without a layer has no proven piece before all of it is.
    reached = [1 if proof.layer is not None or proof.trusted else proof.pieces for proof in proofs]
    take([s for proof, stop in zip(proofs, reached, strict=True) for s in proof.stretches(0, stop)])
    for proof, stop in zip(proofs, reached, strict=True):
        check([proof], whole=stop == proof.pieces)

    lengths = [
        header_length(holder.prefix(i, LENGTH_SIZE), proof.entry.size, proof.entry.path)
        for i, proof in enumerate(proofs)
    ]
    stops = [
        max(stop, -(-length // proof.piece_length))
        for proof, stop, length in zip(proofs, reached, lengths, strict=True)
    ]
    take([s for p, start, stop in zip(proofs, reached, stops, strict=True) for s in p.stretches(start, stop)])
    check(proofs, whole=False)
    headers = [
        parse_header(holder.prefix(i, lengths[i]), proof.entry.size, proof.entry.path)
        for i, proof in enumerate(proofs)
    ]
    take(
        [s for proof, start in zip(proofs, stops, strict=True) for s in proof.stretches(start, proof.pieces)]
    )
    check(proofs, whole=True, headers=dict(enumerate(headers)))
    return headers


def _prove_pickles(holder: Holder, proofs: Sequence[ShardProof], meter: Meter) -> list[Header]:
    from weightshare.load.pickles import prove_pickles

    return prove_pickles(holder, proofs, meter)


def _tensors(holder: Holder, plan: Plan, headers: Sequence[Header]) -> dict[str, torch.Tensor]:
    from weightshare.load.selected import check_names
    from weightshare.load.views import tensors_of

    check_names(plan, headers)
    tensors: dict[str, torch.Tensor] = {}
    for i, (entry, header) in enumerate(zip(plan.shards, headers, strict=True)):
        tensors |= tensors_of(holder.flat(i), header, entry.path)
    return tensors
