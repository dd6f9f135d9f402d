"""What a GPU makes of the loader: hash rate, bus, ring, and a proven load against loaders that prove nothing.

Bounds and predictions, written before a first run on a GPU. The hash loop for sm_90 (as NVRTC 13.5 makes it) has some
1,400 instructions per 64-byte block, of which about 1,300 go to the integer pipe, 64 lanes wide: 20 cycles a block a
multiprocessor, so 132 of them at 1.755 GHz cannot pass about 740 GB/s. From 512 MiB on each of the 528 schedulers has
two warps and should come near that: 400 GB/s or more for 1 GiB. A leaf takes one thread about 257 x 2,600 cycles,
0.4 ms, however many run beside it up to one warp a scheduler, so 16 MiB are hashed at about 40 GB/s, 64 MiB at 150,
256 MiB at 500. The bus (PCIe 5, 16 lanes) moves about 55 GB/s from pinned memory. A load from the page cache is
bounded by it as long as readers deliver more, which takes eight threads or so; the hash of the last 128 MiB comes on
top, under a millisecond. So a proven load should reach 0.85 to 0.95 of the bus once pinned memory is there; the first
load in a process also pays for pinning some 300 MiB and for compiling the kernel (0.6 s on a slow core), beside its
reading.

Each part runs in a process of its own, so that one that fails, even in a way that spoils the device, leaves the others'
figures; the result is written after each. One call takes under eight minutes. Without a CUDA device it says what it
would measure, writes nothing and ends with 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.gpu_checkpoint import make
from bench.harness import hardware, print_table, publish
from weightshare.units import parse_size

PARTS = {
    # name: (most seconds, what it measures)
    "about": (60, "the device, its driver, and the versions of what is used"),
    "correct": (90, "the kernel and the pieces' hashes against hashlib, on the device"),
    "hash": (90, "hash rate by launch size (4 MiB to 1 GiB) and threads a block; compile time"),
    "bus": (60, "copy rates: pinned memory to device by chunk size, and device to device"),
    "pinning": (60, "what pinning costs: torch's way, and large pages registered"),
    "readers": (90, "reading from the page cache into pinned slots, by threads, without a copy"),
    "load ours": (120, "proven load, hashed on the device: from the page cache, and cold"),
    "load safetensors": (120, "safetensors load_file(device=cuda), unverified"),
    "load fastsafetensors": (120, "fastsafetensors, unverified, where it is installed"),
    "load instanttensor": (120, "instanttensor, unverified, where it is installed"),
    "load private": (120, "proven load, hashed on the processor"),
    "ring": (120, "proven load by slot size, readers and spare slots"),
    "storage": (120, "whether transformers keeps our storage, and its logits"),
    "alignment": (60, "matrix products with weights on multiples of 8, 16 and 256 bytes"),
}


def main() -> None:
    arguments = _arguments()
    if arguments.part:
        from bench.gpu_parts import run_part

        print(json.dumps(run_part(arguments.part, Path(arguments.folder), arguments.runs)))
        return
    if not _device():
        print("No CUDA device here, so nothing is measured or written. With one this measures:")
        for name, (_, what) in PARTS.items():
            print(f"  {name:22}{what}")
        return
    began = time.monotonic()
    result: dict[str, Any] = {
        "benchmark": "gpu",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "setup": {"bytes": arguments.size, "files": arguments.files, "runs": arguments.runs},
        "parts": {},
        "ratios": {},
    }
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-", dir=arguments.folder) as scratch:
        folder = Path(scratch)
        make(folder, arguments.size, arguments.files)
        result["setup"]["seconds_to_make"] = round(time.monotonic() - began, 1)
        for name, (most, _) in PARTS.items():
            if arguments.only and name not in arguments.only:
                continue
            left = arguments.budget - (time.monotonic() - began)
            result["parts"][name] = _run(name, folder, arguments.runs, min(most, left))
            result["ratios"] = ratios(result["parts"])
            publish(result, as_json=False, out=arguments.out)
    _print(result)
    publish(result, as_json=arguments.json, out=arguments.out)


def ratios(parts: dict[str, Any]) -> dict[str, float]:
    """The targets' figures, as far as the parts that they need have run."""
    found: dict[str, float] = {}

    def put(name: str, above: Any, below: Any) -> None:
        if isinstance(above, int | float) and isinstance(below, int | float) and below:
            found[name] = round(above / below, 3)

    def of(part: str, *keys: str) -> Any:
        value = parts.get(part)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    ours = of("load ours", "bytes_per_second", "warm")
    put("hash_gb_per_second_at_1_gib", of("hash", "best_bytes_per_second", "1024 MiB"), 1e9)
    put("of_bus", ours, of("bus", "best_pinned_bytes_per_second"))
    for other in ("safetensors", "fastsafetensors", "instanttensor", "private"):
        put(f"vs_{other}", ours, of(f"load {other}", "bytes_per_second", "warm"))
        put(
            f"first_vs_{other}",
            of("load ours", "bytes_per_second", "first"),
            of(f"load {other}", "bytes_per_second", "first"),
        )
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="GPU: hashing, bus, ring, proven load against unverified.")
    parser.add_argument("--size", type=parse_size, default="8G", help="bytes of the checkpoint (default 8G)")
    parser.add_argument("--files", type=int, default=4, help="shards (default 4)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each load after the first (default 5)")
    parser.add_argument("--budget", type=float, default=450, help="seconds for all parts (default 450)")
    parser.add_argument("--only", action="append", help="this part only; may be given again")
    parser.add_argument("--folder", help="where the checkpoint is put: a disk, for the cold runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="also write it to a file, after each part")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser.parse_args()


def _device() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _run(name: str, folder: Path, runs: int, most: float) -> dict[str, Any]:
    """One part in a process of its own; whatever goes wrong there is its result."""
    if most < 10:
        return {"skipped": "out of time"}
    command = [sys.executable, __file__, "--part", name, "--folder", str(folder), "--runs", str(runs)]
    began = time.monotonic()
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=most)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {most:.0f} s"}
    seconds = round(time.monotonic() - began, 1)
    if ran.returncode:
        # The last lines say what happened; what stands before could name folders.
        return {
            "failed": ran.stderr.strip().splitlines()[-1:] or [f"status {ran.returncode}"],
            "took": seconds,
        }
    part: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return {**part, "took": seconds}


def _print(result: dict[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    for name, part in result["parts"].items():
        for word in ("failed", "skipped"):
            if word in part:
                rows.append((name, word, str(part[word])[:70]))
        for key, value in part.get("bytes_per_second", {}).items():
            rows.append((name, key, f"{value / 1e9:.1f} GB/s"))
    rows += [("ratio", name, f"{value:.2f}") for name, value in result["ratios"].items()]
    print_table("On the GPU", ("part", "what", "figure"), rows)


if __name__ == "__main__":
    main()
