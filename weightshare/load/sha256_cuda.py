"""The hash kernel on a CUDA device: compiled at run time by NVRTC, loaded and launched through the driver.

Through `cuda.bindings`, which torch's own CUDA builds for Linux require, as they require NVRTC: no compiler, no
toolkit and no build step. The code is made for the very device (cubin and not PTX), so that a driver older than
NVRTC, of the same major version, still takes it.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache, partial
from typing import Any

from weightshare.errors import DeviceError
from weightshare.load.tree_launches import KERNEL, Launch, source

THREADS = 64
"""Threads in a block: few, so that a launch of a few thousand leaves still reaches every multiprocessor."""

_TYPES = (ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p)
_HINT = "`--private` hashes on the processor instead and needs none of this. Is the driver as new as torch needs it?"
_LOADING = threading.Lock()


def missing_package() -> str | None:
    """The Python package without which the kernel cannot be compiled here, or None."""
    try:
        from cuda.bindings import driver, nvrtc
    except ImportError:
        return "cuda-bindings"
    del driver
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError:  # which a library that is not found is
        return "nvidia-cuda-nvrtc"
    return None


def compile_kernel(major: int, minor: int) -> bytes:
    """Machine code for devices of this compute capability; PTX if they are newer than NVRTC knows.

    Raises:
        DeviceError: NVRTC refuses; the message has the first error that it finds.
    """
    from cuda.bindings import nvrtc

    ours = 10 * major + minor
    known: list[int] = _checked(nvrtc.nvrtcGetSupportedArchs(), "NVRTC says what it compiles for")
    newer = ours > max(known)
    if ours not in known and not newer:
        raise DeviceError(
            f"NVRTC here compiles for compute capability {min(known) / 10} and up; the device has {ours / 10}.",
            hint=_HINT,
            device="cuda",
        )
    arch = f"compute_{max(known)}" if newer else f"sm_{ours}"
    program = _checked(
        nvrtc.nvrtcCreateProgram(source().encode("ascii"), b"sha256.cu", 0, None, None), "starting NVRTC"
    )
    try:
        options = [f"--gpu-architecture={arch}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(status):
            size = _checked(nvrtc.nvrtcGetProgramLogSize(program), "reading NVRTC's log")
            log = _filled(nvrtc.nvrtcGetProgramLog, program, size).rstrip(b"\0").decode(errors="replace")
            first = next((line for line in log.splitlines() if "error" in line), "it says no more")
            raise _failed("compiling the hash kernel", f"{status.name}: {first.strip()}")
        if newer:
            size = _checked(nvrtc.nvrtcGetPTXSize(program), "reading what NVRTC made")
            return _filled(nvrtc.nvrtcGetPTX, program, size)
        size = _checked(nvrtc.nvrtcGetCUBINSize(program), "reading what NVRTC made")
        return _filled(nvrtc.nvrtcGetCUBIN, program, size)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


class Kernel:
    """The kernel in the primary context of one device, which is the one that torch uses.

    Raises:
        DeviceError: it could not be compiled or loaded.
    """

    def __init__(self, index: int) -> None:
        from cuda.bindings import driver

        self._driver = driver
        _checked(driver.cuInit(0), "starting the CUDA driver")
        device = _checked(driver.cuDeviceGet(index), "opening the device")
        attribute = driver.CUdevice_attribute
        major, minor = (
            _checked(driver.cuDeviceGetAttribute(which, device), "asking for the compute capability")
            for which in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        self._code = compile_kernel(major, minor)  # kept, as the driver is given its address
        # Never released: torch holds the same context for as long as the process lives.
        self._context = _checked(driver.cuDevicePrimaryCtxRetain(device), "taking the device's context")
        self._enter()
        module = _checked(driver.cuModuleLoadData(self._code), "loading the hash kernel")
        self._function = _checked(
            driver.cuModuleGetFunction(module, KERNEL.encode()), "finding the hash kernel"
        )

    def on(self, stream: int, threads: int = THREADS) -> Launch:
        """Launches on a stream, given by its handle as torch has it (`torch.cuda.Stream.cuda_stream`)."""
        return partial(self._launch, stream, threads)

    def _launch(
        self, stream: int, threads: int, data: int, length: int, each: int, count: int, hashes: int
    ) -> None:
        self._enter()
        status = self._driver.cuLaunchKernel(
            self._function,
            *(-(-count // threads), 1, 1),
            *(threads, 1, 1),
            0,
            self._driver.CUstream(stream),
            ((data, length, each, count, hashes), _TYPES),
            0,
        )
        _checked(status, "launching the hash kernel")

    def _enter(self) -> None:
        # A thread that has made no CUDA call yet has no context.
        _checked(self._driver.cuCtxSetCurrent(self._context), "entering the device's context")


def kernel_for(index: int) -> Kernel:
    """The kernel for a device, compiled once a process.

    Raises:
        DeviceError: it could not be compiled or loaded.
    """
    with _LOADING:
        try:
            return _kernel(index)
        except RuntimeError as error:  # as the bindings say that there is no driver
            raise _failed("loading the driver or NVRTC", str(error)) from error


@cache
def _kernel(index: int) -> Kernel:
    return Kernel(index)


def _filled(call: Any, program: Any, size: int) -> bytes:
    # The bindings write into the bytes that they are given.
    data = b" " * size
    _checked(call(program, data), "reading what NVRTC made")
    return data


def _checked(answer: tuple[Any, ...], doing: str) -> Any:
    status, *values = answer
    if int(status):
        raise _failed(doing, status.name)
    return values[0] if values else None


def _failed(doing: str, why: str) -> DeviceError:
    return DeviceError(f"The GPU cannot hash: {doing} failed: {why}.", hint=_HINT, device="cuda")
