"""A bare BitTorrent client in a process of its own that has some of the pieces, or lets nobody have any.

To be called as `python -m tests.integration.partial_peer TORRENT DIR PORT LACKING SLOTS`: LACKING is the indices of the
pieces it has not, with commas, and SLOTS how many peers it serves at once. It says its port once it listens.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from tests.cli.helpers import ROOT
from tests.integration.releases import Published

_LOCAL_CLASS = 2  # libtorrent's class for peers on this machine, who are served whatever the slots


def serve(torrent: str, folder: str, port: str, lacking: str, slots: str) -> None:
    """Serve what is there until stdin is closed."""
    settings = {
        "listen_interfaces": f"127.0.0.1:{port}",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "unchoke_slots_limit": int(slots),
        "num_optimistic_unchoke_slots": 0,
        "close_redundant_connections": False,
        "allow_multiple_connections_per_ip": True,
    }
    session = lt.session(cast("Any", settings))
    session.set_peer_class(_LOCAL_CLASS, cast("Any", {"ignore_unchoke_slots": False, "label": "here"}))
    params = lt.load_torrent_file(torrent)
    assert params.ti is not None
    params.save_path = folder
    layout = params.ti.layout()
    params.renamed_files = {
        index: str(Path(folder, *Path(layout.file_path(index)).parts[1:]))
        for index in range(layout.num_files())
        if not layout.file_flags(index) & lt.file_storage.flag_pad_file
    }
    absent = {int(number) for number in lacking.split(",") if number}
    params.have_pieces = [piece not in absent for piece in range(params.ti.num_pieces())]
    params.piece_priorities = [0] * params.ti.num_pieces()
    session.add_torrent(params)
    print(session.listen_port(), flush=True)
    while os.read(0, 1):
        pass


@contextmanager
def partial_peer(
    published: Published, *, lacking: Collection[int] = (), slots: int = -1, port: int = 0
) -> Iterator[str]:
    """Such a client for the time of a test; its address, as `--peer` takes it."""
    words = [str(published.facts["torrent"]), str(published.folder), str(port)]
    more = [",".join(map(str, lacking)), str(slots)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.partial_peer", *words, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")])},
    )
    try:
        assert process.stdout is not None
        listening = process.stdout.readline().strip()
        assert listening, "it did not start"
        yield f"127.0.0.1:{listening}"
    finally:
        process.kill()
        process.wait(10)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                cast("Any", stream).close()


if __name__ == "__main__":
    serve(*sys.argv[1:])
