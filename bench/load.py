"""How fast a checkpoint is loaded with every byte proven, against loaders that prove nothing, and against the bound.

The bound. Every byte must be read once and hashed once; the two can overlap, so nobody gets past

    min(read, hash)

with `read` the rate at which a process on each core reads the files into a buffer that it uses over and over, and
`hash` the rate at which they take the SHA-256 of 16 KiB leaves of such a buffer with hashlib. Both are measured in the
same run. Warm, on two cores, reading takes 15 to 30 GB/s and hashing about 2.7, so hashing is the bound; cold, from a
disk of 1 GB/s, reading is. A loader that ends with a copy of its own must fill memory that nobody has touched before,
which costs more than reading does, on a virtual machine several times more: that rate is measured as well
(`read into fresh memory`), and is a bound for `ours, private` that the ratio does not allow for.

Prediction, written before the first run of 4 GiB. Beside the leaves we pay, in parts of their time: 5 % for the
tree's nodes, 3 to 7 % for page faults in the processes that hash, 3 to 6 % for those of the touch here, 3 % for
processes that start. So mapped and warm should reach 0.83 to 0.88 of the bound, and cold 0.9, since the disk is asked
for bytes ahead of all of that. Private and warm should reach 0.75 where fresh memory is cheap. Against load_file
followed by a check, which hashes on one core, mapped should be twice as fast warm; against one by a check on all
cores, about as fast. Against loaders alone, which hash nothing, several times slower warm and as fast cold.

Cold means that the page cache was dropped before the run, which takes root and a disk: a file system in memory is
always warm. The check of `load and check` runs first and leaves the files warm for the load, as it does for a careful
user; `sha256sum` hashes one file after the other, and that is what counts; a check on all cores is shown beside it,
at the rate of the bound.

Sides take turns, and medians count; a first run of each is thrown away. A run that others disturbed by taking more than
3 % of the processor is repeated. Memory is measured in runs of their own: anonymous pages of a side and its processes
beyond those it had after its imports. Packages that are not installed are said to be so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import signed_model
from bench.harness import alternate, hardware, medians, print_table, publish, undisturbed
from bench.loading_sides import BOUNDS, CHECK, LOADERS, Side
from weightshare.units import MIB, parse_size

DEFAULT_OUT = Path(__file__).resolve().parent / "results" / "load.json"
DROP = Path("/proc/sys/vm/drop_caches")
CHECK_NAME = "check, one core"
RIVALS = [name for name in LOADERS if not name.startswith("ours")]


def main() -> None:
    """Measure and report."""
    arguments = _arguments()
    facts = hardware()
    with tempfile.TemporaryDirectory(prefix="weightshare-bench-", dir=arguments.folder) as scratch:
        work = Path(scratch)
        signed_model.make(work, arguments.size, arguments.shards)
        files = sorted((work / "model").glob("*.safetensors"))
        size = sum(path.stat().st_size for path in files)
        system = _file_system(work)
        loaders = {name: side for name, side in LOADERS.items() if side.installed()}
        sides: dict[str, Side] = {**BOUNDS, CHECK_NAME: CHECK, **loaders}
        shares: list[float] = []
        figures: dict[str, dict[str, list[float]]] = {}
        for temperature in ["warm"] + (["cold"] if _can_cool(system) and not arguments.warm_only else []):
            runs = {
                name: _timed(side, work, files, temperature)
                for name, side in sides.items()
                if temperature == "warm" or name != "hash"
            }
            if arguments.tries:
                runs = {name: undisturbed(run, shares, tries=arguments.tries) for name, run in runs.items()}
            for side in sides.values() if temperature == "warm" else ():
                side.seconds(work)
            figures[temperature] = alternate(runs, arguments.runs)
        memory = {name: side.memory(work) for name, side in loaders.items()}
    facts["others_share_at_most"] = max(shares, default=None)
    setup = {
        "bytes": size,
        "shards": len(files),
        "piece_length": signed_model.PIECE,
        "file_system": system,
        "runs": arguments.runs,
        "statistic": "median",
        "cold": "page cache dropped before each run" if "cold" in figures else "not measured",
        "not_installed": [name for name in LOADERS if name not in loaders],
        "versions": _versions(),
    }
    result = _result(facts, setup, figures, memory)
    _print(result)
    publish(result, as_json=arguments.json, out=arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default="4GiB", help="bytes in all (default 4GiB)")
    parser.add_argument("--shards", type=int, default=8, help="files they are spread over (default 8)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument(
        "--tries", type=int, default=10, help="tries to find a quiet moment for a run; 0: do not wait"
    )
    parser.add_argument("--folder", help="where to put the data (default: the system's temporary folder)")
    parser.add_argument("--warm-only", action="store_true", help="leave out the runs from a cold disk")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help=f"where to write it (default {DEFAULT_OUT.name})"
    )
    return parser.parse_args()


def _timed(side: Side, work: Path, files: list[Path], temperature: str) -> Callable[[], float]:
    def run() -> float:
        if temperature == "cold":
            os.sync()
            DROP.write_text("3")
        else:
            for path in files:
                _read(path)
        return side.seconds(work)

    return run


def _read(path: Path) -> None:
    """Bring a file into the page cache, or see that it is there."""
    buffer = bytearray(4 * MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _file_system(folder: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"


def _can_cool(system: str) -> bool:
    return system not in ("tmpfs", "ramfs") and os.access(DROP, os.W_OK)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in ("torch", "safetensors", "transformers", "fastsafetensors", "runai-model-streamer"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _result(
    facts: dict[str, Any],
    setup: dict[str, Any],
    figures: dict[str, dict[str, list[float]]],
    memory: dict[str, int],
) -> dict[str, Any]:
    seconds = {temperature: medians(runs) for temperature, runs in figures.items()}
    size = setup["bytes"]
    ratios: dict[str, Any] = {}
    bounds: dict[str, float] = {}
    for temperature, taken in seconds.items():
        end = "" if temperature == "warm" else "_cold"
        bounds[temperature] = size / max(taken["read"], seconds["warm"]["hash"])
        for name in ("mapped", "private"):
            mode = "" if name == "mapped" else "_private"
            ours = taken[f"ours, {name}"]
            ratios[f"of_bound{mode}{end}"] = max(taken["read"], seconds["warm"]["hash"]) / ours
            rivals = [rival for rival in RIVALS if rival in taken]
            # The check leaves the files warm for the load that comes after it.
            both = {rival: taken[CHECK_NAME] + seconds["warm"][rival] for rival in rivals}
            parallel = {
                rival: max(taken["read"], seconds["warm"]["hash"]) + seconds["warm"][rival]
                for rival in rivals
            }
            ratios[f"vs_load_and_check{mode}{end}"] = min(both.values()) / ours
            ratios[f"vs_load_and_parallel_check{mode}{end}"] = min(parallel.values()) / ours
            ratios[f"vs_load_and_check_each{mode}{end}"] = {rival: both[rival] / ours for rival in rivals}
            ratios[f"vs_load_alone_each{mode}{end}"] = {rival: taken[rival] / ours for rival in rivals}
    return {
        "benchmark": "load",
        "hardware": facts,
        "setup": setup,
        "seconds": _rounded(seconds),
        "bound_bytes_per_second": {temperature: round(rate) for temperature, rate in bounds.items()},
        "peak_anonymous_mib": {name: round(peak / MIB, 1) for name, peak in memory.items()},
        "ratios": _rounded(ratios),
        "all_runs": _rounded(figures),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 3)


def _print(result: dict[str, Any]) -> None:
    setup, seconds, peaks = result["setup"], result["seconds"], result["peak_anonymous_mib"]
    warm, cold = seconds["warm"], seconds.get("cold", {})
    rows: list[tuple[object, ...]] = []
    for name in [*warm, *setup["not_installed"]]:
        if name in setup["not_installed"]:
            rows.append((f"{name}: not installed", None, None, None, None))
            continue
        rows.append((name, warm[name], setup["bytes"] / warm[name] / 1e6, cold.get(name), peaks.get(name)))
    title = f"Loading {setup['bytes'] / 2**30:.1f} GiB in {setup['shards']} shards, every page touched"
    columns = ("what", "warm, s", "warm, MB/s", "cold, s", "anonymous, MiB")
    print_table(f"{title}, median of {setup['runs']}", columns, rows)
    ratios = result["ratios"]
    shown = [f"{name} {value:.2f}" for name, value in ratios.items() if isinstance(value, float)]
    print("\n" + "\n".join(shown), file=sys.stderr)


if __name__ == "__main__":
    main()
