"""The parts of the GPU's benchmark, each for a process of its own."""

from __future__ import annotations

import hashlib
import mmap
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

import torch

from bench.gpu_checkpoint import shards, warm
from bench.gpu_loads import LOADS, cold_and_warm, storage
from weightshare.load.cuda_device import CudaHashingDevice
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.sha256_cuda import compile_kernel, kernel_for, missing_package
from weightshare.load.tree_launches import launch_tree, scratch_size
from weightshare.units import BLOCK, GIB, MIB

DEVICE = "cuda:0"


def run_part(name: str, folder: Path, runs: int) -> dict[str, Any]:
    """A part's figures."""
    if name.startswith("load "):
        return cold_and_warm(folder, LOADS[name.removeprefix("load ")], runs)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "about": about,
        "correct": correct,
        "hash": hash_rates,
        "bus": bus,
        "pinning": pinning,
        "readers": lambda: readers(folder),
        "ring": lambda: ring(folder),
        "storage": lambda: storage(folder),
        "alignment": alignment,
    }
    return parts[name]()


def about() -> dict[str, Any]:
    """The device and the versions."""
    properties = torch.cuda.get_device_properties(0)
    found: dict[str, Any] = {
        "device": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / GIB, 1),
        "torch": torch.__version__,
        "cuda_of_torch": torch.version.cuda,
        "missing_package": missing_package(),
    }
    if found["missing_package"] is None:
        from cuda.bindings import driver, nvrtc

        found["newest_cuda_of_driver"] = driver.cuDriverGetVersion()[1]
        found["nvrtc"] = ".".join(map(str, nvrtc.nvrtcVersion()[1:]))
    for package in ("cuda-bindings", "safetensors", "fastsafetensors", "instanttensor", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def correct() -> dict[str, Any]:
    """Raises if a hash is not what hashlib makes of the same bytes."""
    random = Random(1)
    launch = kernel_for(0).on(torch.cuda.current_stream().cuda_stream)
    checked = 0
    for offset in (0, 8):
        for length in [*range(1, 200), *range(BLOCK - 80, BLOCK + 1)]:
            data = random.randbytes(length)
            memory = torch.zeros(offset + length, dtype=torch.uint8, device=DEVICE)
            memory[offset:] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            out = torch.zeros(64, dtype=torch.uint8, device=DEVICE)
            launch(memory.data_ptr() + offset, length, BLOCK, 2, out.data_ptr())
            if out.cpu().numpy().tobytes() != hashlib.sha256(data).digest() + bytes(32):
                raise AssertionError(f"a leaf of {length} bytes at offset {offset} is hashed wrong")
            checked += 1
    device = CudaHashingDevice(DEVICE)
    for width, length in ((1, 5 * MIB), (64, 32 * MIB + 1), (256, 64 * MIB - 12345), (4096, 40 * MIB)):
        data = random.randbytes(length)
        flat, slot = device.allocate(length), device.slot(length)
        slot[:] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        device.copy(flat, 0, slot)
        pieces = -(-length // (width * BLOCK))
        found = device.piece_hashes(flat, 0, length, pieces, width)()
        if found != piece_hashes(memoryview(data), width * BLOCK, width):
            raise AssertionError(f"pieces of {width} leaves, {length} bytes, are hashed wrong")
        checked += pieces
    device.close()
    return {"correct": True, "hashes_checked": checked}


def hash_rates() -> dict[str, Any]:
    """The rate of whole trees (pieces of 4 MiB), by what is hashed in one go and threads a block."""
    began = time.perf_counter()
    compile_kernel(*torch.cuda.get_device_capability(0))
    compiled = time.perf_counter() - began
    kernel, stream = kernel_for(0), torch.cuda.current_stream()
    data = torch.randint(0, 256, (GIB,), dtype=torch.uint8, device=DEVICE)
    scratch = torch.empty(scratch_size(256, 256), dtype=torch.uint8, device=DEVICE)
    rates: dict[str, dict[str, float]] = {}
    for size in (4, 16, 64, 128, 256, 512, 1024):
        rates[f"{size} MiB"] = {}
        for threads in (32, 64, 128, 256):
            launch = kernel.on(stream.cuda_stream, threads)
            pieces = size // 4

            def once(launch: Any = launch, size: int = size, pieces: int = pieces) -> None:
                launch_tree(launch, data.data_ptr(), size * MIB, pieces, 256, scratch.data_ptr())

            rates[f"{size} MiB"][f"{threads} threads"] = round(size * MIB / _seconds_on_device(once))
    shifted = kernel.on(stream.cuda_stream)

    def by_eight() -> None:
        launch_tree(shifted, data.data_ptr() + 8, 512 * MIB, 128, 256, scratch.data_ptr())

    return {
        "compile_seconds": round(compiled, 3),
        "by_launch": rates,
        "best_bytes_per_second": {size: max(each.values()) for size, each in rates.items()},
        "bytes_per_second": {size: each["64 threads"] for size, each in rates.items()},
        "on_multiples_of_8_at_512_mib": round(512 * MIB / _seconds_on_device(by_eight)),
    }


def bus() -> dict[str, Any]:
    """Copy rates by chunk size, one stream."""
    host = torch.empty(GIB // 2, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(2 * GIB, dtype=torch.uint8, device=DEVICE)
    rates: dict[str, float] = {}
    for chunk in (1, 4, 8, 16, 32, 64, 512):
        size = chunk * MIB

        def once(size: int = size) -> None:
            for start in range(0, len(host), size):
                part = slice(start, start + size)
                device[part].copy_(host[part], non_blocking=True)

        rates[f"pinned, {chunk} MiB"] = round(len(host) / _seconds_on_device(once, 3))
    pageable = torch.empty(GIB // 4, dtype=torch.uint8).fill_(1)
    rates["pageable"] = round(len(pageable) / _seconds_on_device(lambda: device[: GIB // 4].copy_(pageable)))
    rates["device to device"] = round(GIB / _seconds_on_device(lambda: device[:GIB].copy_(device[GIB:])))
    best = max(rate for name, rate in rates.items() if name.startswith("pinned"))
    return {"bytes_per_second": rates, "best_pinned_bytes_per_second": best}


def pinning() -> dict[str, Any]:
    """Seconds to make 320 MiB of pinned memory, in slots of 16 MiB."""
    torch.empty(1, device=DEVICE)
    count, size = 20, 16 * MIB
    began = time.perf_counter()
    kept: list[Any] = [torch.empty(size, dtype=torch.uint8, pin_memory=True) for _ in range(count)]
    found = {"torch": time.perf_counter() - began}
    began = time.perf_counter()
    memory = mmap.mmap(-1, count * size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    flat = torch.frombuffer(memory, dtype=torch.uint8)
    status = torch.cuda.cudart().cudaHostRegister(flat.data_ptr(), flat.numel(), 0)
    found["large pages, registered"] = time.perf_counter() - began
    kept.append(flat)
    result = {"seconds_for_320_mib": {k: round(v, 4) for k, v in found.items()}, "status": int(status)}
    torch.cuda.cudart().cudaHostUnregister(flat.data_ptr())
    return result


def readers(folder: Path) -> dict[str, Any]:
    """Rates at which threads read from the page cache into pinned slots of their own."""
    warm(folder)
    rates: dict[str, float] = {}
    size = 16 * MIB
    for threads in (1, 2, 4, 8, 12, 16, 24):
        slots = [torch.empty(size, dtype=torch.uint8, pin_memory=True) for _ in range(threads)]
        opened = [os.open(path, os.O_RDONLY) for path in shards(folder)]
        jobs = [(fd, start) for fd in opened for start in range(0, os.fstat(fd).st_size - size, size)]

        def work(number: int, slots: Any = slots, jobs: Any = jobs, threads: int = threads) -> None:
            view = memoryview(slots[number].numpy())
            for fd, start in jobs[number::threads]:
                os.preadv(fd, [view], start)

        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        rates[f"{threads} threads"] = round(len(jobs) * size / (time.perf_counter() - began))
        for fd in opened:
            os.close(fd)
    return {"bytes_per_second": rates, "cores": len(os.sched_getaffinity(0))}


def ring(folder: Path) -> dict[str, Any]:
    """A warm proven load by slot size, readers, spare slots and span; the better of two runs each."""
    from weightshare.load import cuda

    warm(folder)
    usual = (cuda.SLOT, cuda.READERS, cuda.SPARE_SLOTS, cuda.SPAN)
    tried = [(slot * MIB, 16, 4, 128 * MIB) for slot in (2, 4, 8, 16, 32, 64)]
    tried += [(16 * MIB, count, 4, 128 * MIB) for count in (4, 8, 12)]
    tried += [(16 * MIB, 16, spare, 128 * MIB) for spare in (1, 2, 8, 16)]
    tried += [(16 * MIB, 16, 4, span * MIB) for span in (32, 512)]
    rates: dict[str, float] = {}
    LOADS["ours"](folder)
    for slot, count, spare, span in (usual, *tried):
        cuda.SLOT, cuda.READERS, cuda.SPARE_SLOTS, cuda.SPAN = slot, count, spare, span
        name = f"slot {slot // MIB} MiB, {count} readers, {spare} spare, span {span // MIB} MiB"
        LOADS["ours"](folder)
        rates[name] = round(max(LOADS["ours"](folder) for _ in range(2)))
    return {"bytes_per_second": rates}


def alignment() -> dict[str, Any]:
    """Seconds of a product with a weight that starts on multiples of 8, 16 and 256 bytes, for 1 and 512 rows."""
    width = 8192
    memory = torch.empty(width * width * 2 + 512, dtype=torch.uint8, device=DEVICE)
    found: dict[str, float] = {}
    for rows in (1, 512):
        x = torch.randn(rows, width, dtype=torch.bfloat16, device=DEVICE)
        for offset in (0, 16, 8):
            weight = memory[offset : offset + width * width * 2].view(torch.bfloat16).view(width, width)
            weight.normal_()

            def once(x: torch.Tensor = x, weight: torch.Tensor = weight) -> None:
                torch.nn.functional.linear(x, weight)

            seconds = _seconds_on_device(once)
            found[f"{rows} rows, {offset or 256} bytes"] = round(seconds * 1e6, 1)
    return {"microseconds": found}


def _seconds_on_device(work: Callable[[], Any], runs: int = 5) -> float:
    """The median by the device's own clock, after one run that does not count."""
    work()
    taken: list[float] = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1000)
    return statistics.median(taken)
