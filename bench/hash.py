"""How fast `publish` hashes, against libtorrent's hasher and against what the processor can do at all.

The bound. Per byte a hybrid needs one SHA-256 for its 16 KiB leaf, one for the whole file and one SHA-1; a
v2-only release needs the two SHA-256. None of them can be shared, so no program gets past

    hybrid   cores / (1/leaf + 1/sha256 + 1/sha1)
    v2-only  cores / (1/leaf + 1/sha256)

with the one-core rates of `openssl speed -bytes 16384`, which starts a new digest every 16 KiB, as a leaf
does. With about 1.50, 1.50 and 1.61 GB/s a core, two cores are bounded by 1.02 and 1.50 GB/s.

Prediction, written before the first run: beside the digests we pay for copying the bytes from the page cache
(about 8 GB/s into an aligned buffer: 6 % of a hybrid's time, 9 % of v2-only's), for Merkle nodes (63 a MiB of
0.6 µs: 2 %) and for handing out jobs (under 1 %). So ours should reach 0.90-0.94 of the bound for a hybrid
and 0.87-0.92 for v2-only. libtorrent's Python binding hashes on one thread and makes no whole-file SHA-256:
its own bounds on one core are 1/(1/leaf + 1/sha1) = 0.78 GB/s and 1.50 GB/s, of which it reaches about 0.8.
On two cores we should be about 1.5 times as fast for a hybrid, and no more than 1.3 times for v2-only even at
our bound: there, the whole-file SHA-256 doubles our work, and every further core widens the gap again.

Data lies in /dev/shm unless told otherwise, so disks play no part; the sides take turns, and medians count. A
run that others disturbed by taking more than 3 % of the processor is repeated.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import (
    alternate,
    cores,
    hardware,
    in_subprocess,
    medians,
    print_table,
    publish,
    undisturbed,
)
from weightshare.units import MIB, parse_size

PIECE = MIB
LEAF = 16 * 1024

OURS = """
import json, sys, time
from pathlib import Path
from weightshare.content.hashing import hash_files
folder, piece, hybrid = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "hybrid"
files = [(path, path.stat().st_size) for path in sorted(folder.iterdir())]
began = time.perf_counter()
hash_files(files, piece, hybrid=hybrid)
print(json.dumps(time.perf_counter() - began))
"""

LIBTORRENT = """
import json, sys, time
from pathlib import Path
import libtorrent as lt
folder, piece, hybrid = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "hybrid"
began = time.perf_counter()
torrent = lt.create_torrent(lt.list_files(str(folder)), piece, 0 if hybrid else lt.create_torrent.v2_only)
lt.set_piece_hashes(torrent, str(folder.parent))
print(json.dumps(time.perf_counter() - began))
"""


def main() -> None:
    arguments = _arguments()
    facts = hardware()
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-", dir=arguments.folder) as scratch:
        folder = Path(scratch) / "model"
        size = _fill(folder, arguments.size, arguments.files)
        sides: dict[str, Callable[[], float]] = {
            **{f"openssl {what}": _openssl(what) for what in ("sha256", "sha1")},
            **{
                f"{who} {mode}": _side(code, folder, mode, size)
                for mode in ("hybrid", "v2-only")
                for who, code in (("ours", OURS), ("libtorrent", LIBTORRENT))
            },
            "openssl dgst -sha256": _dgst(folder, size),
        }
        shares: list[float] = []
        sides = {name: undisturbed(side, shares, tries=arguments.tries) for name, side in sides.items()}
        runs = alternate(sides, arguments.runs)
    facts["others_share_at_most"] = max(shares, default=None)
    result = _result(facts, size, arguments, runs)
    _print(result)
    publish(result, as_json=arguments.json, out=arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hash rates: ours, libtorrent's, and the bound.")
    parser.add_argument("--size", type=parse_size, default="4G", help="bytes in all (default 4G)")
    parser.add_argument("--files", type=int, default=2, help="files they are spread over (default 2)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--tries", type=int, default=30, help="tries to find a quiet moment for a run")
    parser.add_argument("--folder", default=_default_folder(), help="where to put the data")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="also write it to a file")
    return parser.parse_args()


def _default_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _fill(folder: Path, size: int, files: int) -> int:
    """Random files of equal size; returns the bytes in all."""
    folder.mkdir()
    each = size // files
    for number in range(files):
        with (folder / f"model-{number + 1:05}.safetensors").open("wb") as file:
            left = each
            while left:
                left -= file.write(os.urandom(min(left, 8 * MIB)))
    return each * files


def _side(code: str, folder: Path, mode: str, size: int) -> Callable[[], float]:
    """Bytes a second of a program that prints its seconds; starting the interpreter does not count."""

    def run() -> float:
        return size / float(in_subprocess(code, str(folder), str(PIECE), mode))

    return run


def _openssl(digest: str) -> Callable[[], float]:
    """Bytes a second of one core on 16 KiB messages."""

    def run() -> float:
        command = ["openssl", "speed", "-elapsed", "-seconds", "2", "-bytes", str(LEAF), "-evp", digest]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(ran.stdout.split()[-1].removesuffix("k")) * 1000

    return run


def _dgst(folder: Path, size: int) -> Callable[[], float]:
    """Bytes a second of `openssl dgst`, one file after the other on one core."""

    def run() -> float:
        began = time.perf_counter()
        command = ["openssl", "dgst", "-sha256", *map(str, sorted(folder.iterdir()))]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return size / (time.perf_counter() - began)

    return run


def _result(
    facts: dict[str, Any], size: int, arguments: argparse.Namespace, runs: dict[str, list[float]]
) -> dict[str, Any]:
    rate = medians(runs)
    sha256, sha1 = rate["openssl sha256"], rate["openssl sha1"]
    bounds = {"hybrid": cores() / (2 / sha256 + 1 / sha1), "v2-only": cores() / (2 / sha256)}
    return {
        "benchmark": "hash",
        "hardware": facts,
        "setup": {
            "bytes": size,
            "files": arguments.files,
            "piece_length": PIECE,
            "runs": arguments.runs,
            "statistic": "median",
            "page_cache": "warm",
        },
        "bytes_per_second": {name: round(value) for name, value in rate.items()},
        "bound_bytes_per_second": {name: round(value) for name, value in bounds.items()},
        "ratios": {
            "of_bound": round(rate["ours hybrid"] / bounds["hybrid"], 3),
            "vs_libtorrent": round(rate["ours hybrid"] / rate["libtorrent hybrid"], 3),
            "of_bound_v2": round(rate["ours v2-only"] / bounds["v2-only"], 3),
            "vs_libtorrent_v2": round(rate["ours v2-only"] / rate["libtorrent v2-only"], 3),
        },
        "all_runs": {name: [round(value) for value in values] for name, values in runs.items()},
    }


def _print(result: dict[str, Any]) -> None:
    rates, bounds = result["bytes_per_second"], result["bound_bytes_per_second"]
    rows: list[tuple[object, ...]] = []
    for mode in ("hybrid", "v2-only"):
        bound = bounds[mode]
        rows.append((f"bound {mode}, {result['hardware']['cores']} cores", bound / 1e6, 1.0))
        rows += [
            (f"{who} {mode}", rates[f"{who} {mode}"] / 1e6, rates[f"{who} {mode}"] / bound)
            for who in ("ours", "libtorrent")
        ]
    rows += [
        (f"{name}, one core", rates[name] / 1e6, None)
        for name in ("openssl dgst -sha256", "openssl sha256", "openssl sha1")
    ]
    setup = result["setup"]
    title = f"Hashing {setup['bytes'] / 2**30:.1f} GiB in {setup['files']} files, median of {setup['runs']}"
    print_table(title, ("what", "MB/s", "of bound"), rows)
    ratios = result["ratios"]
    print(
        f"\nOurs against libtorrent: hybrid {ratios['vs_libtorrent']:.2f}x, "
        f"v2-only {ratios['vs_libtorrent_v2']:.2f}x. Ours makes the whole-file SHA-256 as well.",
        file=sys.stderr,
    )


if __name__ == "__main__":
    if shutil.which("openssl") is None:
        sys.exit("This benchmark needs the openssl command.")
    main()
