"""The GPU's hash kernel as plain C: the very text that a GPU gets, compiled for this machine's processor."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from weightshare.load.tree_launches import HASH, KERNEL, Launch, launch_tree, scratch_size, source

# What CUDA's words mean on a processor, and a loop over all threads in place of a launch.
_BEFORE = r"""
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
typedef struct { unsigned int x, y; } __attribute__((aligned(8))) uint2;
typedef struct { unsigned int x, y, z, w; } __attribute__((aligned(16))) uint4;
static struct { unsigned int x; } threadIdx, blockIdx, blockDim;
static inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int shift)
{
    return shift & 31 ? low >> (shift & 31) | high << (32 - (shift & 31)) : low;
}
static inline unsigned int __byte_perm(unsigned int x, unsigned int y, unsigned int selector)
{
    unsigned int result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned int from = selector >> (4 * i) & 7;
        result |= ((from < 4 ? x >> (8 * from) : y >> (8 * (from - 4))) & 0xff) << (8 * i);
    }
    return result;
}
"""
_AFTER = r"""
void run(unsigned int threads, const unsigned char *data, unsigned long long length, unsigned int each,
         unsigned int count, uint4 *hashes)
{
    blockDim.x = threads;
    /* One block more than is needed: threads without work must write nothing. */
    for (blockIdx.x = 0; blockIdx.x <= (count + threads - 1) / threads; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
            %s(data, length, each, count, hashes);
}
"""
_WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-fno-strict-aliasing"]


def compiler(*names: str) -> str | None:
    """The first of these programs (cc, gcc and clang if none is named) that makes a library here."""
    return next((found for name in names or ("cc", "gcc", "clang") if (found := _working(name))), None)


@cache
def _working(name: str) -> str | None:
    program = shutil.which(name)
    if program is None:
        return None
    with TemporaryDirectory(prefix="weightshare-kernel-") as folder:
        # A compiler may lack what it links with.
        command = [program, "-x", "c", "-shared", "-fPIC", "-o", str(Path(folder) / "trial.so"), "-"]
        ran = subprocess.run(command, input=b"int x;", capture_output=True, check=False)
    return None if ran.returncode else program


@cache
def compiled(program: str | None = None, language: str = "c", *more: str) -> Launch | None:
    """The kernel, ready to be launched on memory of this process; None without a compiler."""
    program = program or compiler()
    if program is None:
        return None
    # The mapping of a library that was loaded outlives its file.
    with TemporaryDirectory(prefix="weightshare-kernel-") as folder:
        text, library = Path(folder) / "sha256.c", Path(folder) / "sha256.so"
        after = _AFTER % KERNEL
        if language == "c++":
            after = f'extern "C" {{{after}}}'
        text.write_text(_BEFORE + source() + after)
        subprocess.run(
            [program, "-x", language, "-O2", "-shared", "-fPIC", *_WARNINGS, *more, "-o", library, text],
            check=True,
        )
        run = ctypes.CDLL(str(library)).run
    number, address = ctypes.c_uint, ctypes.c_void_p
    run.argtypes = [number, address, ctypes.c_ulonglong, number, number, address]
    run.restype = None

    def launch(data: int, length: int, each: int, count: int, hashes: int) -> None:
        run(64, data, length, each, count, hashes)

    return launch


def piece_hashes_by(launch: Launch, data: int, length: int, pieces: int, width: int) -> list[bytes]:
    """The hashes of pieces that lie at an address of this process."""
    size = scratch_size(pieces, width)
    memory = (ctypes.c_ubyte * (size + 64))()
    start = ctypes.addressof(memory) + -ctypes.addressof(memory) % 16
    guard = 0xA5
    ctypes.memset(start + size, guard, 16)
    found = ctypes.string_at(launch_tree(launch, data, length, pieces, width, start), HASH * pieces)
    if ctypes.string_at(start + size, 16) != bytes([guard]) * 16:
        raise AssertionError("the kernel wrote behind its scratch memory")
    return [found[i : i + HASH] for i in range(0, len(found), HASH)]
