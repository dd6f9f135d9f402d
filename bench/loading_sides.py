"""The programs that `load.py` measures, each a process of its own: loaders, a separate check, and what bounds them.

A side imports what it needs, writes `ready`, waits for a line, works, and writes its seconds; so neither starting an
interpreter nor importing torch counts for any of them. Loaders touch every page of every tensor within that time, and
keep them all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EVERY = 0.005
"""Seconds between two looks at a side's memory."""

_FRAME = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
work = Path(sys.argv[1])
folder = work / "model"
files = sorted(map(str, folder.glob("*.safetensors")))
{prepare}
def touch(tensors):
    for tensor in tensors:
        tensor.detach().flatten().view(torch.uint8)[::4096].sum()
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
{work}
seconds = time.perf_counter() - began
print(json.dumps(seconds), flush=True)
sys.stdin.readline()
"""

_OURS = (
    """
import torch
from bench.signed_model import read
from weightshare.load import loader
release = read(work)
""",
    """
state = loader.state_dict(
    release.verified, release.folder, device="cpu", mode="{mode}", layers=release.layers)
touch(state.tensors.values())
assert state.verified
""",
)

_SAFETENSORS = (
    "import torch\nfrom safetensors.torch import load_file",
    """
kept = [load_file(path) for path in files]
for tensors in kept:
    touch(tensors.values())
""",
)

_TRANSFORMERS = (
    """
import torch, transformers
from transformers import LlamaForCausalLM
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
""",
    """
model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
touch(model.parameters())
""",
)

_FASTSAFETENSORS = (
    "import torch\nfrom fastsafetensors import SafeTensorsFileLoader, SingleGroup",
    """
loader = SafeTensorsFileLoader(SingleGroup(), device="cpu", nogds=True)
loader.add_filenames({0: files})
buffer = loader.copy_files_to_device()
kept = [buffer.get_tensor(name) for name in loader.get_keys()]
touch(kept)
""",
)

_RUNAI = (
    "import torch\nfrom runai_model_streamer import SafetensorsStreamer",
    """
kept = []
with SafetensorsStreamer() as streamer:
    streamer.stream_files(files)
    for _, tensor in streamer.get_tensors():
        kept.append(tensor.clone())
touch(kept)
""",
)

_CHECK = (
    "import hashlib",
    """
for path in files:
    with open(path, "rb") as file:
        hashlib.file_digest(file, "sha256").digest()
""",
)

# Every core has a process. The pieces to read or hash are dealt out by turns, as ours are.
_BOUND = (
    """
import os, subprocess
from bench.harness import cores
CODE = '''
import hashlib, mmap, os, sys
what, turn, turns, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
size, leaf, sha256 = 2**22, 2**14, hashlib.sha256
if what == "fresh":
    total = sum(map(os.path.getsize, files)) // turns + 2 * size * len(files)
    memory = mmap.mmap(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
else:
    memory = mmap.mmap(-1, size)
    memory.write(bytes(size))
view = memoryview(memory)
print("ready", flush=True)
sys.stdin.readline()
place, at = 0, 0
for path in files:
    fd, length = os.open(path, os.O_RDONLY), os.path.getsize(path)
    for offset in range(0, length, size):
        if (at := at + 1) % turns != turn:
            continue
        count = min(size, length - offset)
        if what == "hash":
            for i in range(0, count, leaf):
                sha256(view[i : min(i + leaf, count)]).digest()
            continue
        assert os.preadv(fd, [view[place : place + count]], offset) == count
        place += count if what == "fresh" else 0
    os.close(fd)
print("done", flush=True)
sys.stdin.readline()
'''
helpers = [
    subprocess.Popen([sys.executable, "-c", CODE, "{what}", str(turn), str(cores()), *files],
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for turn in range(cores())
]
for helper in helpers:
    helper.stdout.readline()
""",
    """
for helper in helpers:
    helper.stdin.write(b"go\\n")
    helper.stdin.flush()
for helper in helpers:
    assert helper.stdout.readline() == b"done\\n"
""",
)


@dataclass(frozen=True)
class Side:
    """One program.

    Attributes:
        code: its source; it takes the folder that `signed_model.make` filled.
        package: what must be installed for it, if not everybody has it.
        loads: whether it ends with all tensors in hand.
    """

    code: str
    package: str = ""
    loads: bool = True

    def installed(self) -> bool:
        """Whether it can run here."""
        test = f"import {self.package}" if self.package else "pass"
        return subprocess.run([sys.executable, "-c", test], capture_output=True, check=False).returncode == 0

    def seconds(self, work: Path) -> float:
        """Run it."""
        return _run(self.code, work)

    def memory(self, work: Path) -> int:
        """Run it, and return the most anonymous memory that it and its processes had beyond what it began with."""
        peak = 0
        began = 0

        def look(pid: int) -> None:
            nonlocal peak, began
            now = sum(_anonymous(each) for each in _tree(pid))
            began = began or now
            peak = max(peak, now)

        _run(self.code, work, look)
        return peak - began


def _side(parts: tuple[str, str], *, package: str = "", loads: bool = True, **words: str) -> Side:
    prepare, work = parts
    for word, value in words.items():
        prepare, work = (text.replace("{" + word + "}", value) for text in (prepare, work))
    frame = _FRAME.replace("{root!r}", repr(str(ROOT))).replace("{prepare}", prepare)
    return Side(frame.replace("{work}", work), package, loads)


LOADERS = {
    "ours, mapped": _side(_OURS, mode="mapped"),
    "ours, private": _side(_OURS, mode="private"),
    "safetensors load_file": _side(_SAFETENSORS),
    "transformers from_pretrained": _side(_TRANSFORMERS),
    "fastsafetensors": _side(_FASTSAFETENSORS, package="fastsafetensors"),
    "runai-model-streamer": _side(_RUNAI, package="runai_model_streamer"),
}
CHECK = _side(_CHECK, loads=False)
BOUNDS = {
    "read": _side(_BOUND, what="read", loads=False),
    "hash": _side(_BOUND, what="hash", loads=False),
    "read into fresh memory": _side(_BOUND, what="fresh", loads=False),
}


def _run(code: str, work: Path, look: Callable[[int], None] | None = None) -> float:
    """Run a side, with `look` called over and over from just before it works until it is done."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(work)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"a side could not start:\n{process.stderr.read()}")
        ended = threading.Event()

        def watch() -> None:
            while look is not None and not ended.wait(EVERY):
                look(process.pid)

        if look is not None:
            look(process.pid)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            process.stdin.write("go\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            ended.set()
            watcher.join()
        if look is not None:
            look(process.pid)
        if not line:
            raise SystemExit(f"a side failed:\n{process.stderr.read()}")
        process.stdin.write("end\n")
        process.stdin.flush()
        return float(json.loads(line))


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if "RssAnon" in line), 0)


def _tree(root: int) -> list[int]:
    """A process and its children, which have none in turn; not one that is only being started and has no memory yet."""
    try:
        own = Path(f"/proc/{root}/cmdline").read_bytes()
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return [root]
    return [root, *(int(child) for child in children if _command(child) not in (b"", own))]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
