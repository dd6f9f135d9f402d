"""A mapped file that is cut short under whoever computes with it: a message and exit 4, not a death by SIGBUS.

Each case is a program of its own, since what is tested is how it ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the handler is for Linux")

PROGRAM = """
import mmap, os, sys, threading
from pathlib import Path
import torch
from weightshare.errors import WeightshareError
from weightshare.load import faults, mapped
from weightshare.load.opened import open_file
from weightshare.manifest.model import FileEntry

folder, case = Path(sys.argv[1]), sys.argv[2]
path = folder / "a.safetensors"
size = 16 * 2**20
path.write_bytes(bytes(size))
mapped.take_lease = lambda file: "the test cuts it short"  # where a lease is held, this would wait
file = open_file(FileEntry("a.safetensors", size, bytes(32), bytes(32)), folder, {})
holder = mapped.Mapped([file], 2**20, 1)
flat = holder.flat(0)

def report(error: WeightshareError) -> int:
    os.write(2, f"{type(error).__name__}: {error.message}".encode())
    return error.exit_code

if case != "unarmed":
    assert faults.arm(report)
if case == "not ours":
    other = folder / "other"
    other.write_bytes(bytes(8192))
    view = mmap.mmap(os.open(other, os.O_RDONLY), 8192, access=mmap.ACCESS_READ)
    os.truncate(other, 0)
    print(view[0])
os.truncate(path, 4096)
if case == "one byte":
    print(flat[size // 2].item())
elif case == "many threads":
    torch.set_num_threads(4)
    print(flat.view(torch.float32).sum())
elif case == "interpreter lock held":
    print(bytes(memoryview(flat.numpy())[2**20:])[:1])
elif case == "another thread":
    worker = threading.Thread(target=lambda: print(flat.sum()))
    worker.start()
    worker.join()
elif case == "closed":
    holder.close()
    print(flat.sum())
elif case == "renamed":
    path.rename(folder / "b")
    print(flat.sum())
elif case == "forgotten":
    holder.close()
    del holder, flat
    import gc; gc.collect()
    assert not faults._mappings
    sys.exit(9)
else:
    print(flat.sum())
sys.exit(3)
"""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a file system in memory; `tmp_path` lies on whatever tests write to."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no file system in memory")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def ended(folder: Path, case: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), case],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


CASES = ["one byte", "many threads", "interpreter lock held", "another thread", "closed"]
CUT = "CorruptError: a.safetensors: changed while it was used: it had 16777216 bytes, now it has 4096."


@pytest.mark.parametrize("case", CASES)
def test_a_touch_of_what_is_gone_ends_with_the_file_named(tmp_path: Path, case: str) -> None:
    done = ended(tmp_path, case)
    assert (done.returncode, done.stderr, done.stdout) == (4, CUT, "")


def test_so_it_does_on_a_file_system_in_memory(memory: Path) -> None:
    done = ended(memory, "many threads")
    assert (done.returncode, done.stderr, done.stdout) == (4, CUT, "")


def test_a_file_that_was_moved_away_as_well_is_named_too(tmp_path: Path) -> None:
    done = ended(tmp_path, "renamed")
    assert done.returncode == 4
    assert done.stderr == "CorruptError: a.safetensors: changed while it was used: it is gone."


@pytest.mark.parametrize("case", ["unarmed", "not ours"])
def test_a_signal_that_is_none_of_ours_means_what_it_meant(tmp_path: Path, case: str) -> None:
    assert ended(tmp_path, case).returncode == -signal.SIGBUS


def test_a_mapping_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    assert ended(tmp_path, "forgotten").returncode == 9
