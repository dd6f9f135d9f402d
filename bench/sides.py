"""The programs that the transfer benchmarks run: our seeder and fetch, a bare libtorrent pair, nginx, a tracker.

Each is a process (the tracker a thread) on the loopback device that ends with its context.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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
params.renamed_files = {int(k): v for k, v in json.loads(sys.stdin.readline()).items()}
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
params.flags |= SKIP_V1_HASHES
params.have_pieces = [True] * params.ti.num_pieces()
session.add_torrent(params)
print(session.listen_port(), flush=True)
sys.stdin.read()
"""

BARE_LEECH = """
import sys
from itertools import accumulate
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
first, step = int(sys.argv[4]), int(sys.argv[5])
handle = session.add_torrent(params)
finished = False
shared = step == 1
while True:
    session.wait_for_alert(100)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.cache_flushed_alert) and finished:
            sys.exit(0)
    status = handle.status()
    if not shared and status.has_metadata:
        files = handle.torrent_file().layout()
        pads = [bool(files.file_flags(i) & lt.file_storage.flag_pad_file) for i in range(files.num_files())]
        ranks = accumulate(int(not pad) for pad in pads)
        handle.prioritize_files([4 * (not p and r % step == first) for p, r in zip(pads, ranks)])
        shared = True
    elif shared and not finished and status.is_finished:
        finished = True
        handle.flush_cache()
"""


def environment(home: Path | None = None) -> dict[str, str]:
    search = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
    named = {"WEIGHTSHARE_HOME": str(home)} if home is not None else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search), "WEIGHTSHARE_NETWORK": "local", **named}


def weightshare(home: Path, *words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], check=True, capture_output=True, text=True, timeout=LIMIT, env=environment(home)
    )
    return done.stdout


@contextmanager
def our_seeder(home: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [*COMMAND, "seed", "--json", "--quiet"], stdout=subprocess.PIPE, env=environment(home), text=True
    )
    with ended(process):
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])


@contextmanager
def bare_seeder(torrent: Path, folder: Path) -> Iterator[int]:
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
        [sys.executable, "-c", BARE_SEEDER, str(torrent), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    with ended(process):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(places) + "\n")
        process.stdin.flush()
        yield int(process.stdout.readline())


@contextmanager
def nginx(work: Path, folder: Path, rate: int | None = None) -> Iterator[int]:
    """nginx with a folder, its port; `rate` limits each connection, in bytes a second."""
    port = 28080
    place = work / "nginx"
    place.mkdir()
    (place / "nginx.conf").write_text(
        f"""daemon off; pid {place}/pid; error_log {place}/error.log; worker_processes 1;
        events {{}}
        http {{
          access_log off; sendfile on; tcp_nopush on; {f"limit_rate {rate};" if rate else ""}
          client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
          uwsgi_temp_path {place}; scgi_temp_path {place};
          server {{ listen 127.0.0.1:{port}; root {folder}; }}
        }}
        """
    )
    for path in (work, place, folder):
        path.chmod(0o755)  # its worker runs as another user
    process = subprocess.Popen(["nginx", "-e", f"{place}/error.log", "-c", f"{place}/nginx.conf"])
    with ended(process):
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
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
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
def tracker() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Announce)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
