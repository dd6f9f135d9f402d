"""Swarm dead, Hub alive: our range source and `fetch` beside `hf download` and curl, from one server on this machine.

The server. nginx holds the large files, and the tests' stand-in for the Hub answers the API and redirects to nginx with
signed URLs, as the Hub does to its store; without nginx the stand-in holds them too. All sides ask the same two.

What the sides do. `ranges`: our range source in a process of its own, several ranges at once, into files, and the
SHA-256 of each, compared with what the server says. `weightshare`: the whole of `weightshare fetch --sources hub`, the
gate, every piece's proof and final names included; its `.torrent` and manifest come from nginx, so not without it.
`hf`: `hf download` by HTTP, which checks sizes only. `curl`: one file after the other; `curl -Z`: all at once; neither
checks anything. `--per-connection RATE` has nginx give each connection no more, as stores far away do.

The bound. On two cores everything is copies: nginx spends about 0.25 core-seconds a GiB on sendfile, whoever receives
0.6 to 0.9 on taking it from the socket and writing it to the page cache, and SHA-256 with the processor's own
instructions another 0.7. One client thread therefore ends near 1 GiB/s whatever it is written in; ours needs the
second core for its hashes. Prediction, written before the first run: `ranges` 1.0 to 1.2 of the best of the others,
`hf` half of curl for the time that Python and its HTTP library take, `weightshare` 0.5 to 0.7, because the engine
copied and hashed each piece once more; since then `--sources hub` goes without an engine. With `--per-connection` the
number of connections decides: curl and hf have one for each file, we four in all by default.

Data lies in /dev/shm unless told otherwise: the source is warm; the target is new in each run. Starting up is part of
all figures. The sides take turns, and medians count. `ratios.vs_best` is `ranges` over the fastest of `hf`, `curl` and
`curl -Z`; the target is 0.9.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
from weightshare.api import publishing
from weightshare.api.origin import Origin
from weightshare.api.results import HubStanding
from weightshare.content.home import Home
from weightshare.units import GIB, MIB, parse_size

REPO = "bench/model"
_CPU: dict[str, list[float]] = {}  # seconds of processor time of each side's own processes, by run
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

class File:
    def __init__(self, path, size, expected):
        self.path, self.size, self.expected = path, size, expected
        place = Path(target, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self.digest, self.hashed, self.parts = hashlib.sha256(), 0, []

    def read(self, offset, length):
        at = offset
        def take(view):
            nonlocal at
            if self.hashed == at:  # its turn: hashed while it is in the processor's cache
                self.digest.update(view)
                self.hashed += len(view)
            while view:
                count = os.pwrite(self.file, view, at)
                at, view = at + count, view[count:]
        source.read(self.path, offset, length, take=take, stop=stop)

    def prove(self):
        # What came out of turn is hashed from the page cache.
        buffer = memoryview(bytearray(1 << 18))
        for part, end in self.parts:
            part.result()
            while self.hashed < end:
                count = os.preadv(self.file, [buffer[:end - self.hashed]], self.hashed)
                self.digest.update(buffer[:count])
                self.hashed += count
        if self.digest.hexdigest() != self.expected:
            sys.exit(f"{self.path} is not what the server says")

opened = [File(*facts) for facts in files]
spans = [(offset, min(span, file.size - offset), file) for file in opened for offset in range(0, file.size, span)]
spans.sort(key=lambda one: one[0])  # file by file in turn, so that each is read in order
with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(len(files)) as provers:
    for offset, length, file in spans:
        file.parts.append((pool.submit(file.read, offset, length), offset + length))
    for proof in [provers.submit(file.prove) for file in opened]:
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
    busy = medians(_CPU)
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
        "cpu_seconds": busy,
        "mib_per_second": rates,
        "best": best[1],
        "ratios": ratios,
    }
    limit = f", {asked.per_connection}/s a connection" if asked.per_connection else ""
    print_table(
        f"hub: {total / GIB:.2f} GiB in {asked.files} files from {server}{limit}, median of {asked.runs}",
        ["side", "seconds", "MiB/s", "over the best of theirs", "CPU s"],
        [
            [side, seconds, rates[side], rates[side] / best[0], busy[side]]
            for side, seconds in medians(figures).items()
        ],
    )
    publish(result, as_json=asked.json, out=asked.out)


def _measure(
    work: Path, asked: argparse.Namespace, stack: ExitStack
) -> tuple[dict[str, list[float]], int, str]:
    site = work / "site"
    folder, pages = site / "model", site / "pages"
    _make(folder, parse_size(asked.size), asked.files)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.iterdir()}
    with_nginx = shutil.which("nginx") is not None
    if asked.per_connection and not with_nginx:
        raise SystemExit("--per-connection wants nginx.")
    rate = parse_size(asked.per_connection) if asked.per_connection else None
    port = stack.enter_context(nginx(work, site, rate=rate)) if with_nginx else None
    hub = stack.enter_context(_hub(folder, f"http://127.0.0.1:{port}/model" if port else None))
    target = work / "out"
    env = {"HF_ENDPOINT": hub["url"], "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    env |= {"HF_HOME": str(work / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    files = [[path, size, hub["sha256"][path]] for path, size in sorted(sizes.items())]
    job = json.dumps([REPO, hub["commit"], str(target), asked.threads, parse_size(asked.span), files])
    sides: dict[str, Callable[[], float]] = {
        "ranges": lambda: _timed([sys.executable, "-c", RANGES, job], target, env),
    }
    if port:
        fetch, leech = _published(work, folder, pages, f"http://127.0.0.1:{port}/pages", hub["commit"])
        sides["weightshare"] = lambda: _timed([*fetch, str(target), "--quiet"], target, env, leech)
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
        sides["curl -Z"] = lambda: _timed([*curl, "--parallel", "--no-progress-meter"], target, env)
    for side in sides.values():
        side()  # not counted: programs and their caches of bytecode are warm for all
    counted = {name: _with_cpu(name, side) for name, side in sides.items()}
    return alternate(counted, asked.runs), sum(sizes.values()), "nginx" if port else "the stand-in"


def _published(work: Path, folder: Path, pages: Path, site: str, commit: str) -> tuple[list[str], Path]:
    """The same files as a release that nobody seeds; the command that fetches it, and the home for that."""
    home, leech = work / "home", work / "leech"
    weightshare(home, "keys", "new", "bench")
    pages.mkdir(mode=0o755)
    made: dict[str, Any] = publishing.publish(
        folder,
        name=REPO,
        home=Home(home),
        origin=Origin(HubStanding(REPO, commit, False, "a benchmark")),
        torrent_urls=[f"{site}/model.torrent"],
        out=pages,
    ).to_json()
    weightshare(leech, "trust", "add", "bench", made["publisher"])
    return [*COMMAND, "fetch", made["magnet"], "--sources", "hub"], leech


def _make(folder: Path, size: int, files: int) -> None:
    """Shards of random bytes, and a small file."""
    folder.mkdir(parents=True)
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


def _with_cpu(name: str, side: Callable[[], float]) -> Callable[[], float]:
    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = side()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        _CPU.setdefault(name, []).append(spent)
        return seconds

    return run


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
