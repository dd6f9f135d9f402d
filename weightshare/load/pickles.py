"""Tensors of a `.pth` file that `torch.save` wrote: torch reads the pickle, the bytes are ours.

Such a file is a zip: a pickle that says which tensors there are, and beside it their bytes, not compressed. The whole
file is proven first. Then `torch.load(weights_only=True)` reads the pickle out of the very memory that was hashed
(the mapping, the copy, the device's buffer), with every tensor on the device `meta`, which has no data; torch notes
where in the file each one's bytes are. What is handed out are views of the proven memory there. The file is not
opened a second time, and nothing but torch's restricted unpickler ever runs.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from weightshare.content.safetensors_header import Header, TensorInfo
from weightshare.errors import CheckpointError, UnsupportedModelError
from weightshare.load.proof import ShardProof, Stretch, check
from weightshare.load.views import DTYPES

if TYPE_CHECKING:
    from weightshare.load.holders import Holder
    from weightshare.load.meter import Meter

_LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # PKWARE APPNOTE 4.3.7: the lengths of name and extra field are last
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def prove_pickles(holder: Holder, proofs: Sequence[ShardProof], meter: Meter) -> list[Header]:
    """Prove whole files, then read what tensors they say they hold.

    Returns:
        A header for each file, as a safetensors file with the same tensors would have it.

    Raises:
        CorruptError: bytes are not what was signed.
        UnsupportedModelError: no file that `torch.save` wrote, or one that holds more than plain tensors.
        CheckpointError: a file whose pickle and zip do not agree.
    """
    stretches: list[Stretch] = [s for proof in proofs for s in proof.stretches(0, proof.pieces)]
    for stretch, hashes in holder.prove(stretches):
        proofs[stretch.shard].accept(stretch, hashes)
        meter.add(stretch.length)
    check(proofs, whole=True)
    return [read_pickled(holder.flat(i), proof.entry.path) for i, proof in enumerate(proofs)]


def read_pickled(flat: torch.Tensor, path: str) -> Header:
    """What a proven file of `torch.save` holds.

    Args:
        flat: the file's bytes, one dimension of uint8, on any device.
        path: what messages call the file.

    Raises:
        UnsupportedModelError, CheckpointError: as for `prove_pickles`.
    """
    file = _Memory(flat)
    try:
        with zipfile.ZipFile(file) as archive:
            records = _records(archive, file, path)
            order = next((n for n in archive.namelist() if n.rpartition("/")[2] == "byteorder"), None)
            if order is not None and archive.read(order) != b"little":
                _refuse(path, "its numbers are big-endian")
    except (zipfile.BadZipFile, NotImplementedError, struct.error, EOFError, ValueError):
        _refuse(path, "it is no file of today's torch.save, which writes zip files")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table: Any = torch.load(io.BufferedReader(file), map_location="meta", weights_only=True)
    except UnpicklingError as error:
        _refuse(path, f"it holds more than tensors ({str(error).splitlines()[0].strip()[:200]})")
    except Exception as error:  # whatever a pickle can make torch raise
        _refuse(path, f"torch {torch.__version__} cannot read it ({str(error).splitlines()[0][:200]})")
    if not isinstance(table, Mapping) or not table:
        _refuse(path, "it is no table of tensors")
    infos = [_info(name, value, records, path) for name, value in table.items()]
    return Header(tuple(sorted(infos, key=lambda info: info.start)), {}, 0)


class _Memory(io.RawIOBase):
    """Proven bytes as a file to read from."""

    def __init__(self, flat: torch.Tensor) -> None:
        self._flat = flat
        self._at = 0

    def __len__(self) -> int:
        size: int = self._flat.numel()
        return size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self)}[whence]
        if start + offset < 0:
            raise ValueError("a place before the file")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._flat[self._at : self._at + len(buffer)]
        count: int = part.numel()
        buffer[:count] = part.cpu().numpy().tobytes()
        self._at += count
        return count


def _records(archive: zipfile.ZipFile, file: _Memory, path: str) -> dict[int, int]:
    """Where each record's bytes begin in the file, and how many there are; none may be compressed."""
    found = {}
    for record in archive.infolist():
        if record.compress_type != zipfile.ZIP_STORED:
            _refuse(path, f"the record {record.filename!r} is compressed")
        file.seek(record.header_offset)
        magic, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if magic != b"PK\x03\x04":
            _refuse(path, f"the record {record.filename!r} is not where the zip's directory says")
        start = record.header_offset + _LOCAL_HEADER.size + name + extra
        if start + record.file_size > len(file):
            _refuse(path, f"the record {record.filename!r} goes beyond the end of the file")
        found[start] = record.file_size
    return found


def _info(name: Any, value: Any, records: Mapping[int, int], path: str) -> TensorInfo:
    if not isinstance(name, str) or type(value) is not torch.Tensor:
        _refuse(path, f"{str(name)[:200]!r} is a {type(value).__name__} and no tensor")
    if value.layout != torch.strided or not value.is_contiguous() or value.dtype not in _NAMES:
        _refuse(path, f"the tensor {name} is not plain rows of numbers")
    storage = value.untyped_storage()
    offset = getattr(storage, "_checkpoint_offset", None)
    if offset is None:
        _refuse(path, f"torch {torch.__version__} does not tell where the tensor {name} is; 2.7 and newer do")
    size = value.numel() * value.itemsize
    first = value.storage_offset() * value.itemsize
    if size and (records.get(offset) != storage.nbytes() or first + size > storage.nbytes()):
        raise CheckpointError(
            f"{path}: the tensor {name} is {storage.nbytes()} bytes at {offset}, where the zip has no such record.",
            hint="The publisher must save the checkpoint again with torch.save.",
            path=path,
        )
    return TensorInfo(name, _NAMES[value.dtype], tuple(value.shape), offset + first, offset + first + size)


def _refuse(path: str, why: str) -> NoReturn:
    raise UnsupportedModelError(
        f"{path}: {why}.",
        hint="The publisher should convert it to safetensors. The file is proven all the same.",
        architecture="",
        path=path,
    )
