"""Swarm dead, Hub alive: our range source and `fetch` beside `hf download` and curl, from one server on this machine.

The server. nginx holds the large files, and the tests' stand-in for the Hub answers the API and redirects to nginx with
signed URLs, as the Hub does to its store; without nginx the stand-in holds them too. All sides ask the same two.

What the sides do. `ranges`: our range source in a process of its own, several ranges at once, into files, and the
SHA-256 of each, compared with what the server says. `weightshare`: the whole of `weightshare fetch --sources hub`, the
gate, every piece's proof and final names included; left out where the command does not know the option. `hf`:
`hf download` by HTTP, which checks sizes only. `curl`: one file after the other; `curl -Z`: all at once; neither checks
anything. `--per-connection RATE` has nginx give each connection no more, as stores far away do.

The bound. On two cores everything is copies: nginx spends about 0.25 core-seconds a GiB on sendfile, whoever receives
0.6 to 0.9 on taking it from the socket and writing it to the page cache, and SHA-256 with the processor's own
instructions another 0.7. One client thread therefore ends near 1 GiB/s whatever it is written in; ours needs the second
core for its hashes. Prediction, written before the first run: `ranges` 1.0 to 1.2 of the best of the others, `hf` half
of curl for the time that Python and its HTTP library take, `weightshare` 0.5 to 0.7, because the engine copies and
hashes each piece once more. With `--per-connection` the number of connections decides: curl and hf have one for each
file, we four in all by default.

Data lies in /dev/shm unless told otherwise: the source is warm; the target is new in each run. Starting up is part of
all figures. The sides take turns, and medians count. `ratios.vs_best` is `ranges` over the fastest of `hf`, `curl` and
`curl -Z`; the target is 0.9.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import alternate, hardware, medians, print_table, publish
from bench.sides import COMMAND, LIMIT, ROOT, ended, environment, nginx, weightshare
from weightshare.units import GIB, MIB, parse_size

REPO = "bench/model"
THEIRS = ("hf", "curl", "curl -Z")
RANGES = """
import hashlib, json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weightshare.api.reach import Reach
from weightshare.hub.settings import HubSettings
from weightshare.hub.sources import hub_source
from weightshare.swarm.networks import Network

repo, revision, target, threads, span, files = json.loads(sys.argv[1])
source = hub_source(
    HubSettings.from_environment(), repo, revision, reach=lambda: Reach(Network.LOCAL, inside=True)
)
stop = threading.Event()

def begin(path, offset, length, file):
    at = offset
    def take(view):
        nonlocal at
        while view:
            count = os.pwrite(file, view, at)
            at, view = at + count, view[count:]
    return pool.submit(source.read, path, offset, length, take=take, stop=stop)

def proven(path, expected, file, parts):
    # Follows the ranges as they come, from the page cache.
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    for part, offset, length in parts:
        part.result()
        while length:
            count = os.preadv(file, [buffer[:min(length, len(buffer))]], offset)
            digest.update(buffer[:count])
            offset, length = offset + count, length - count
    if expected and digest.hexdigest() != expected:
        sys.exit(f"{path} is not what the server says")

with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(max(1, len(files))) as provers:
    proofs = []
    for path, size, expected in files:
        place = Path(target, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        spans = [(offset, min(span, size - offset)) for offset in range(0, size, span)]
        parts = [(begin(path, offset, length, file), offset, length) for offset, length in spans]
        proofs.append(provers.submit(proven, path, expected, file, parts))
    for proof in proofs:
        proof.result()
"""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="2GiB", help="bytes of the model (2GiB)")
    parser.add_argument("--files", type=int, default=4, help="files they are split into (4)")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side (5)")
    parser.add_argument("--threads", type=int, default=4, help="ranges at once on our side (4)")
    parser.add_argument("--span", default="16MiB", help="bytes of a range (16MiB)")
    parser.add_argument(
        "--per-connection", metavar="RATE", help="bytes a second that nginx gives a connection"
    )
    parser.add_argument("--data", type=Path, default=Path("/dev/shm"), help="where data lies (/dev/shm)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    asked = parser.parse_args()
    facts = hardware()
    with (
        tempfile.TemporaryDirectory(dir=asked.data, prefix="weightshare-bench-") as name,
        ExitStack() as stack,
    ):
        figures, total, server = _measure(Path(name), asked, stack)
    rates = {side: total / MIB / seconds for side, seconds in medians(figures).items()}
    best = max((rates[side], side) for side in THEIRS if side in rates)
    ratios = {f"vs_{side}": rates["ranges"] / rate for side, rate in rates.items() if side in THEIRS}
    ratios["vs_best"] = rates["ranges"] / best[0]
    if "weightshare" in rates:
        ratios["fetch_vs_best"] = rates["weightshare"] / best[0]
    result: dict[str, Any] = {
        "bench": "hub",
        "hardware": facts,
        "data": "tmpfs, warm" if str(asked.data).startswith("/dev/shm") else "disk, warm",
        "server": server,
        "per_connection": asked.per_connection,
        "size_gib": total / GIB,
        "files": asked.files,
        "ranges_at_once": asked.threads,
        "runs": asked.runs,
        "seconds": figures,
        "mib_per_second": rates,
        "best": best[1],
        "ratios": ratios,
    }
    limit = f", {asked.per_connection}/s a connection" if asked.per_connection else ""
    print_table(
        f"hub: {total / GIB:.2f} GiB in {asked.files} files from {server}{limit}, median of {asked.runs}",
        ["side", "seconds", "MiB/s", "over the best of theirs"],
        [[side, seconds, rates[side], rates[side] / best[0]] for side, seconds in medians(figures).items()],
    )
    publish(result, as_json=asked.json, out=asked.out)


def _measure(
    work: Path, asked: argparse.Namespace, stack: ExitStack
) -> tuple[dict[str, list[float]], int, str]:
    folder = work / "model"
    _make(folder, parse_size(asked.size), asked.files)
    home = work / "home"
    weightshare(home, "keys", "new", "bench")
    made = json.loads(weightshare(home, "publish", str(folder), "--name", REPO, "--json"))
    store = None
    if shutil.which("nginx"):
        rate = parse_size(asked.per_connection) if asked.per_connection else None
        store = f"http://127.0.0.1:{stack.enter_context(nginx(work, folder, rate=rate))}"
    elif asked.per_connection:
        raise SystemExit("--per-connection wants nginx.")
    hub = stack.enter_context(_hub(folder, store))
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*.*")}
    target = work / "out"
    env = {"HF_ENDPOINT": hub["url"], "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    env |= {"HF_HOME": str(work / "hf"), "HF_HUB_DISABLE_XET": "1"}
    files = [[path, size, hub["sha256"].get(path)] for path, size in sorted(sizes.items())]
    job = json.dumps([REPO, hub["commit"], str(target), asked.threads, parse_size(asked.span), files])
    sides: dict[str, Callable[[], float]] = {
        "ranges": lambda: _timed([sys.executable, "-c", RANGES, job], target, env),
    }
    if fetch := _fetch(made, target):
        leech = work / "leech"
        weightshare(leech, "trust", "add", "bench", made["publisher"])
        sides["weightshare"] = lambda: _timed(fetch, target, env, leech)
    hf = shutil.which("hf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if hf:
        download = [hf, "download", REPO, "--revision", hub["commit"], "--cache-dir", str(target)]
        sides["hf"] = lambda: _timed(download, target, env)
    if shutil.which("curl"):
        listing = work / "curl.txt"
        start = f"{hub['url']}/{REPO}/resolve/{hub['commit']}"
        listing.write_text("".join(f'url = "{start}/{path}"\noutput = "{target / path}"\n' for path in sizes))
        curl = ["curl", "--silent", "--fail", "--location", "--create-dirs", "--config", str(listing)]
        sides["curl"] = lambda: _timed(curl, target, env)
        sides["curl -Z"] = lambda: _timed([*curl, "--parallel"], target, env)
    for side in sides.values():
        side()  # not counted: programs and their caches of bytecode are warm for all
    return alternate(sides, asked.runs), sum(sizes.values()), "nginx" if store else "the stand-in"


def _fetch(made: dict[str, Any], target: Path) -> list[str] | None:
    """Our whole fetch from the Hub alone; None where the command does not know how."""
    if "--sources" not in _help("fetch"):
        return None
    return [*COMMAND, "fetch", made["torrent"], str(target), "--quiet", "--sources", "hub"]


def _help(command: str) -> str:
    ran = subprocess.run([*COMMAND, command, "--help"], capture_output=True, text=True, env=environment())
    return ran.stdout


def _make(folder: Path, size: int, files: int) -> None:
    """Shards of random bytes, and a small file."""
    folder.mkdir()
    length = size // files
    header = json.dumps({"w": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
    for index in range(files):
        with (folder / f"model-{index + 1:05}-of-{files:05}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for begin in range(0, length, 8 * MIB):
                file.write(os.urandom(min(8 * MIB, length - begin)))
    (folder / "config.json").write_text("{}\n")


@contextmanager
def _hub(folder: Path, store: str | None) -> Iterator[dict[str, Any]]:
    """The stand-in for the Hub in a process of its own."""
    elsewhere = ["--elsewhere", store] if store else []
    command = [sys.executable, "-m", "tests.hub_server", str(folder), "--repo", REPO, *elsewhere]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    with ended(process):
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def _timed(command: list[str], target: Path, env: dict[str, str], home: Path | None = None) -> float:
    """Seconds of a whole process that fills an empty folder; the folder is gone afterwards."""
    if home is not None:
        shutil.rmtree(home / "releases", ignore_errors=True)
    target.mkdir()
    began = time.perf_counter()
    try:
        subprocess.run(
            command, env=environment(home) | env, stdout=subprocess.DEVNULL, timeout=LIMIT, check=True
        )
        return time.perf_counter() - began
    finally:
        shutil.rmtree(target)


if __name__ == "__main__":
    main()
