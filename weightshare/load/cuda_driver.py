"""What the CUDA driver says of the GPUs, asked of the driver itself: without torch, and so in milliseconds."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver knows it: its name, and its memory in bytes."""

    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver: the newest CUDA that it runs, such as `12.8`, and the GPUs; `problem` is why there are none."""

    cuda: str
    gpus: tuple[Gpu, ...]
    problem: str = ""


def driver() -> Driver | None:
    """Ask libcuda (CUDA Driver API, cuInit and cuDeviceGet*); None where there is no driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version, number, size = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_size_t(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    shown = f"{version.value // 1000}.{version.value % 1000 // 10}"
    status = cuda.cuInit(0)
    if status == 0:
        status = cuda.cuDeviceGetCount(ctypes.byref(number))
    if status:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(status, ctypes.byref(text))
        return Driver(shown, (), (text.value or b"").decode("ascii", "replace") or f"error {status}")
    gpus = []
    for index in range(number.value):
        device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
        if cuda.cuDeviceGet(ctypes.byref(device), index):
            continue
        cuda.cuDeviceGetName(name, len(name), device)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        gpus.append(Gpu(name.value.decode("utf-8", "replace"), int(size.value)))
    return Driver(shown, tuple(gpus))
