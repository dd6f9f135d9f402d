"""How fast `fetch` is, whole process against whole process, beside a bare libtorrent pair, aria2c and curl.

What the sides do. Ours: `weightshare fetch MAGNET DIR` from our own seeder, gate, proof from disk and final names
included. libtorrent: a leech of forty lines with the same settings from an equally bare seeder, given the same magnet,
until everything is written; it proves no publisher and reads nothing back. aria2c: the v1 twin, from our seeder by a
tracker on loopback. curl: the same files from nginx, which checks nothing at all.

The bound. One connection of libtorrent to libtorrent runs at 300-350 MiB/s on two cores, of which both ends together
use about 1.2. Reading back and hashing leaves costs another 0.6 core-seconds a GiB, so it fits into the rest of the
second core, if it runs beside the transfer and not after it. Starting up (0.3 s), the gate (0.1 s) and the last pieces'
proof (0.1 s) are what remains. Prediction, written before the first run: 0.95 of the bare pair at 4 GiB.

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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.harness import alternate, hardware, medians, print_table, publish
from weightshare.units import GIB, MIB, parse_size

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "weightshare_cli"]
LIMIT = 600

BARE_SEEDER = """
import sys, json
import libtorrent as lt
from weightshare.swarm.networks import Network
from weightshare.swarm.settings import SKIP_V1_HASHES, session_settings
session = lt.session(session_settings(Network.LOCAL))
params = lt.load_torrent_file(sys.argv[1])
params.save_path = sys.argv[2]
params.renamed_files = {int(k): v for k, v in json.loads(sys.argv[3]).items()}
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
params.flags |= SKIP_V1_HASHES
params.have_pieces = [True] * params.ti.num_pieces()
session.add_torrent(params)
print(session.listen_port(), flush=True)
sys.stdin.read()
"""

BARE_LEECH = """
import sys
import libtorrent as lt
from weightshare.swarm.networks import Network
from weightshare.swarm.settings import SKIP_V1_HASHES, session_settings
session = lt.session(session_settings(Network.LOCAL))
params = lt.parse_magnet_uri(sys.argv[1])
params.trackers = []
params.save_path = sys.argv[2]
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
params.flags |= SKIP_V1_HASHES
params.peers = [("127.0.0.1", int(sys.argv[3]))]
handle = session.add_torrent(params)
finished = False
while True:
    session.wait_for_alert(100)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.cache_flushed_alert) and finished:
            sys.exit(0)
    if not finished and handle.status().is_seeding:
        finished = True
        handle.flush_cache()
"""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="4GiB", help="bytes of the release (4GiB)")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each side (3)")
    parser.add_argument("--data", type=Path, default=Path("/dev/shm"), help="where data lies (/dev/shm)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file")
    asked = parser.parse_args()
    facts = hardware()
    with (
        tempfile.TemporaryDirectory(dir=asked.data, prefix="weightshare-bench-") as name,
        ExitStack() as stack,
    ):
        figures, size = _measure(Path(name), parse_size(asked.size), asked.runs, stack)
    rates = {side: size / MIB / seconds for side, seconds in medians(figures).items()}
    ratios = {
        f"vs_{key}": rates["weightshare"] / rates[side]
        for key, side in (("libtorrent", "libtorrent"), ("aria2c", "aria2c"), ("curl", "curl"))
        if side in rates
    }
    result: dict[str, Any] = {
        "bench": "fetch",
        "hardware": facts,
        "size_gib": size / GIB,
        "data": "tmpfs, warm" if str(asked.data).startswith("/dev/shm") else "disk, warm",
        "runs": asked.runs,
        "seconds": figures,
        "mib_per_second": rates,
        "ratios": ratios,
    }
    print_table(
        f"fetch, {size / GIB:.1f} GiB over loopback, median of {asked.runs}",
        ["side", "seconds", "MiB/s", "ours over theirs"],
        [
            [side, seconds, rates[side], rates["weightshare"] / rates[side]]
            for side, seconds in medians(figures).items()
        ],
    )
    publish(result, as_json=asked.json, out=asked.out)


def _measure(work: Path, size: int, runs: int, stack: ExitStack) -> tuple[dict[str, list[float]], int]:
    folder = work / "model"
    total = _make(folder, size)
    home = work / "home"
    tracker = stack.enter_context(_tracker())
    _weightshare(home, "keys", "new", "bench")
    made = json.loads(
        _weightshare(
            home,
            "publish",
            str(folder),
            "--name",
            "bench/model",
            "--v1-twin",
            "--json",
            "--tracker",
            f"http://127.0.0.1:{tracker.server_address[1]}/announce",
        )
    )
    port = stack.enter_context(_our_seeder(home))
    tracker.peers = bytes([127, 0, 0, 1]) + port.to_bytes(2, "big")  # type: ignore[attr-defined]
    bare_port = stack.enter_context(_bare_seeder(Path(made["torrent"]), folder))
    leech_home = work / "leech-home"
    _weightshare(leech_home, "trust", "add", "bench", made["publisher"])
    target = work / "out"
    fetch = [*COMMAND, "fetch", made["magnet"], str(target), "--quiet", "--peer", f"127.0.0.1:{port}"]
    sides: dict[str, Callable[[], float]] = {
        "weightshare": lambda: _timed(fetch, target, leech_home),
        "libtorrent": lambda: _timed(
            [sys.executable, "-c", BARE_LEECH, made["magnet"], str(target), str(bare_port)], target
        ),
    }
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
        sides["aria2c"] = lambda: _timed(aria2c, target)
    if shutil.which("nginx") and shutil.which("curl"):
        http = stack.enter_context(_nginx(work, folder))
        urls = [f"http://127.0.0.1:{http}/{path.name}" for path in sorted(folder.iterdir())]
        sides["curl"] = lambda: _timed(
            ["curl", "--silent", "--fail", "--output-dir", str(target), "--remote-name-all", *urls], target
        )
    return alternate(sides, runs), total


def _make(folder: Path, size: int) -> int:
    """Two large files of random bytes, and a small one."""
    folder.mkdir(parents=True)
    for index in range(2):
        with (folder / f"shard-{index}.data").open("wb") as file:
            for _ in range(size // 2 // (8 * MIB)):
                file.write(os.urandom(8 * MIB))
    (folder / "config.json").write_text("{}\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def _timed(command: list[str], target: Path, home: Path | None = None) -> float:
    """Seconds of one whole process that fills an empty folder; the folder is gone afterwards."""
    if home is not None:
        shutil.rmtree(home / "releases", ignore_errors=True)
    target.mkdir()
    began = time.perf_counter()
    try:
        subprocess.run(command, check=True, timeout=LIMIT, env=_environment(home), stdout=subprocess.DEVNULL)
        return time.perf_counter() - began
    finally:
        shutil.rmtree(target)


def _environment(home: Path | None = None) -> dict[str, str]:
    search = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
    named = {"WEIGHTSHARE_HOME": str(home)} if home is not None else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search), "WEIGHTSHARE_NETWORK": "local", **named}


def _weightshare(home: Path, *words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], check=True, capture_output=True, text=True, timeout=LIMIT, env=_environment(home)
    )
    return done.stdout


@contextmanager
def _our_seeder(home: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [*COMMAND, "seed", "--json", "--quiet"], stdout=subprocess.PIPE, env=_environment(home), text=True
    )
    with _ended(process):
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])


@contextmanager
def _bare_seeder(torrent: Path, folder: Path) -> Iterator[int]:
    import libtorrent as lt

    info = lt.load_torrent_file(str(torrent)).ti
    assert info is not None
    files = info.layout()
    places = {
        index: str(folder / files.file_path(index).partition("/")[2])
        for index in range(files.num_files())
        if not files.file_flags(index) & lt.file_storage.flag_pad_file
    }
    process = subprocess.Popen(
        [sys.executable, "-c", BARE_SEEDER, str(torrent), str(folder), json.dumps(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        text=True,
    )
    with _ended(process):
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def _nginx(work: Path, folder: Path) -> Iterator[int]:
    port = 28080
    place = work / "nginx"
    place.mkdir()
    (place / "nginx.conf").write_text(
        f"""daemon off; pid {place}/pid; error_log {place}/error.log; worker_processes 1;
        events {{}}
        http {{
          access_log off; sendfile on; tcp_nopush on;
          client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
          uwsgi_temp_path {place}; scgi_temp_path {place};
          server {{ listen 127.0.0.1:{port}; root {folder}; }}
        }}
        """
    )
    for path in (work, place, folder):
        path.chmod(0o755)  # its worker runs as another user
    process = subprocess.Popen(["nginx", "-e", f"{place}/error.log", "-c", f"{place}/nginx.conf"])
    with _ended(process):
        _await_http(port)
        yield port


def _await_http(port: int) -> None:
    subprocess.run(
        [
            "curl",
            "--silent",
            "--retry",
            "20",
            "--retry-connrefused",
            "--retry-delay",
            "1",
            "-o",
            os.devnull,
            f"http://127.0.0.1:{port}/config.json",
        ],
        check=True,
        timeout=60,
    )


@contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


class _Announce(BaseHTTPRequestHandler):
    """A tracker that knows one peer."""

    def do_GET(self) -> None:
        peers = getattr(self.server, "peers", b"")
        body = b"d8:intervali60e5:peers%d:%se" % (len(peers), peers)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _tracker() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Announce)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
