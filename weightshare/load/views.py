"""Bytes to tensors: every tensor of a shard as a view of the shard's own bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightshare.content.safetensors_header import Header, TensorInfo
from weightshare.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "I64": "int64",
    "U64": "uint64",
    "F64": "float64",
    "C64": "complex64",
}

DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, torch_name) for name, torch_name in _NAMES.items() if hasattr(torch, torch_name)
}
"""The safetensors dtypes that this torch has."""


def tensors_of(flat: torch.Tensor, header: Header, path: str) -> dict[str, torch.Tensor]:
    """The tensors of a shard whose bytes, header included, are `flat` (one dimension of uint8).

    They share its storage, except those that do not lie on a multiple of their item size, which are copied.

    Raises:
        UnsupportedModelError: a dtype that this torch does not have.
    """
    return {info.name: tensor_of(flat, info, path) for info in header.tensors}


def tensor_of(flat: torch.Tensor, info: TensorInfo, path: str) -> torch.Tensor:
    """One tensor of a shard; see `tensors_of`.

    Raises:
        UnsupportedModelError: a dtype that this torch does not have.
    """
    dtype = DTYPES.get(info.dtype)
    if dtype is None:
        raise UnsupportedModelError(
            f"{path}: tensor {info.name} has the dtype {info.dtype}, unknown to torch {torch.__version__}.",
            hint="Another version of torch may have it.",
            architecture="",
            dtype=info.dtype,
        )
    shape = info.shape
    if info.dtype == "F4":  # torch counts bytes, two items each; the pairs lie along the last dimension
        if shape[-1] % 2:
            raise UnsupportedModelError(
                f"{path}: tensor {info.name} is F4 with an odd last dimension; torch needs pairs.",
                hint="The publisher must pad the tensor.",
                architecture="",
                dtype=info.dtype,
            )
        shape = (*shape[:-1], shape[-1] // 2)
    if info.size == 0:
        return torch.empty(shape, dtype=dtype, device=flat.device)
    data = flat[info.start : info.end]
    if data.data_ptr() % dtype.itemsize or data.storage_offset() % dtype.itemsize:
        data = data.clone()
    return data.view(dtype).view(shape)
