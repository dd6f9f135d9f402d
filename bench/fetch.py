"""How fast `fetch` is, whole process against whole process, beside a bare libtorrent pair, aria2c and curl.

What the sides do. Ours: `weightshare fetch MAGNET DIR` from our own seeder, gate, proof from disk and final names
included. libtorrent: a leech of forty lines with the same settings from an equally bare seeder, given the same magnet,
until everything is written; it proves no publisher and reads nothing back. aria2c: the v1 twin, from our seeder by a
tracker on loopback. curl: the same files from nginx, which checks nothing at all.

Shapes of a release. `pair`: two files of half of `--size` each, the standing comparison. `one`: a single file of twice
`--size`. `many`: 64 files. `small`: 10,000 files of 16 KiB, where not bytes but names cost time.

The bound. One connection of libtorrent to libtorrent runs at 300-350 MiB/s on two cores, of which both ends together
use about 1.2. Reading back and hashing leaves costs another 0.6 core-seconds a GiB, so it fits into the rest of the
second core, if it runs beside the transfer and not after it. Starting up (0.3 s), the gate (0.1 s) and the last pieces'
proof (0.1 s) are what remains. Prediction, written before the first run: 0.95 of the bare pair at 4 GiB.

`--workers K` runs K bare pairs at once, each process a session of its own that fetches every K-th file: what splitting
the network's work over processes could bring on this machine at most.

Data lies in /dev/shm unless told otherwise, warm; the sides take turns, and medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import alternate, hardware, medians, print_table, publish
from bench.sides import (
    BARE_LEECH,
    COMMAND,
    LIMIT,
    bare_seeder,
    environment,
    nginx,
    our_seeder,
    tracker,
    weightshare,
)
from weightshare.units import GIB, KIB, MIB, parse_size

SMALL_FILES = 9_998  # with the manifest and the configuration, the most that a release may have
Figures = dict[str, list[float]]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="4GiB", help="bytes of the release (4GiB)")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each side (3)")
    parser.add_argument(
        "--shapes", default="pair,one,many,small", help="comma-separated: pair, one, many, small (all)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="K", help="bare pairs at once, up to K (1)")
    parser.add_argument("--data", type=Path, default=Path("/dev/shm"), help="where data lies (/dev/shm)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    asked = parser.parse_args()
    facts = hardware()
    shapes: dict[str, Any] = {}
    for shape in asked.shapes.split(","):
        with tempfile.TemporaryDirectory(dir=asked.data, prefix="weightshare-bench-") as name:
            shapes[shape] = _shape(shape, Path(name), parse_size(asked.size), asked.runs, asked.workers)
        _print(shape, shapes[shape], asked.runs)
    result: dict[str, Any] = {
        "bench": "fetch",
        "hardware": facts,
        "data": "tmpfs, warm" if str(asked.data).startswith("/dev/shm") else "disk, warm",
        "runs": asked.runs,
        "shapes": shapes,
        "ratios": next(iter(shapes.values()))["ratios"],
    }
    publish(result, as_json=asked.json, out=asked.out)


def _shape(shape: str, work: Path, size: int, runs: int, workers: int) -> dict[str, Any]:
    with ExitStack() as stack:
        figures, total, files = _measure(shape, work, size, runs, workers, stack)
    rates = {side: total / MIB / seconds for side, seconds in medians(figures).items()}
    return {
        "size_gib": total / GIB,
        "files": files,
        "seconds": figures,
        "mib_per_second": rates,
        "ratios": {
            f"vs_{side}": rates["weightshare"] / rate for side, rate in rates.items() if side != "weightshare"
        },
    }


def _print(shape: str, found: dict[str, Any], runs: int) -> None:
    rates = found["mib_per_second"]
    print_table(
        f"fetch {shape}: {found['size_gib']:.2f} GiB in {found['files']:,} files, median of {runs}",
        ["side", "seconds", "MiB/s", "ours over theirs"],
        [
            [side, seconds, rates[side], rates["weightshare"] / rates[side]]
            for side, seconds in medians(found["seconds"]).items()
        ],
    )


def _measure(
    shape: str, work: Path, size: int, runs: int, workers: int, stack: ExitStack
) -> tuple[Figures, int, int]:
    folder = work / "model"
    _make(shape, folder, size)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in paths)
    home = work / "home"
    announced = stack.enter_context(tracker())
    weightshare(home, "keys", "new", "bench")
    said = weightshare(
        home,
        "publish",
        str(folder),
        "--name",
        "bench/model",
        "--v1-twin",
        "--json",
        "--tracker",
        f"http://127.0.0.1:{announced.server_address[1]}/announce",
    )
    made = json.loads(said)
    port = stack.enter_context(our_seeder(home))
    announced.peers = bytes([127, 0, 0, 1]) + port.to_bytes(2, "big")  # type: ignore[attr-defined]
    leech_home = work / "leech-home"
    weightshare(leech_home, "trust", "add", "bench", made["publisher"])
    target = work / "out"
    fetch = [*COMMAND, "fetch", made["magnet"], str(target), "--quiet", "--peer", f"127.0.0.1:{port}"]
    ports = [stack.enter_context(bare_seeder(Path(made["torrent"]), folder)) for _ in range(max(1, workers))]
    sides: dict[str, Callable[[], float]] = {
        "weightshare": lambda: _timed([fetch], target, leech_home),
        "libtorrent": lambda: _timed([_leech(made["magnet"], target, ports[0])], target),
    }
    for count in (2**power for power in range(1, 8) if 2**power <= workers):
        leeches = [
            _leech(made["magnet"], target, port, share=(number, count))
            for number, port in enumerate(ports[:count])
        ]
        sides[f"libtorrent x{count}"] = lambda leeches=leeches: _timed(leeches, target)  # type: ignore[misc]
    if shutil.which("aria2c"):
        aria2c = [
            "aria2c",
            "--quiet",
            "--seed-time=0",
            "--file-allocation=none",
            "--enable-dht=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--listen-port=26881",
            f"--dir={target}",
            made["v1_twin"],
        ]
        sides["aria2c"] = lambda: _timed([aria2c], target)
    if shutil.which("nginx") and shutil.which("curl"):
        http = stack.enter_context(nginx(work, folder))
        listing = work / "curl.txt"
        listing.write_text(
            "".join(
                f'url = "http://127.0.0.1:{http}/{name}"\noutput = "{target / name}"\n'
                for name in sorted(path.relative_to(folder).as_posix() for path in paths)
            )
        )
        sides["curl"] = lambda: _timed(
            [["curl", "--silent", "--fail", "--create-dirs", "--config", str(listing)]], target
        )
    return alternate(sides, runs), total, len(paths)


def _leech(magnet: str, target: Path, port: int, share: tuple[int, int] = (0, 1)) -> list[str]:
    return [sys.executable, "-c", BARE_LEECH, magnet, str(target), str(port), *map(str, share)]


def _make(shape: str, folder: Path, size: int) -> None:
    """Files of random bytes, and a small one."""
    sizes = {
        "pair": [size // 2] * 2,
        "one": [size * 2],
        "many": [size // 64] * 64,
        "small": [16 * KIB] * SMALL_FILES,
    }[shape]
    for index, length in enumerate(sizes):
        path = folder / f"part-{index // 100:03}" / f"shard-{index:05}.data"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for begin in range(0, length, 8 * MIB):
                file.write(os.urandom(min(8 * MIB, length - begin)))
    (folder / "config.json").write_text("{}\n")


def _timed(commands: list[list[str]], target: Path, home: Path | None = None) -> float:
    """Seconds of whole processes, begun together, that fill an empty folder; the folder is gone afterwards."""
    if home is not None:
        shutil.rmtree(home / "releases", ignore_errors=True)
    target.mkdir()
    began = time.perf_counter()
    running = [
        subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL) for command in commands
    ]
    try:
        for process, command in zip(running, commands, strict=True):
            if process.wait(LIMIT):
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        return time.perf_counter() - began
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(target)


if __name__ == "__main__":
    main()
