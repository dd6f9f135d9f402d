"""Serves torrents of any shape with the real engine, in a process of its own, on 127.0.0.1 or the address it is given.

It speaks JSON, a line at a time. The first line out says `{"port": …}`. Then, a line in and a line out:

    {"serve": TORRENT, "files": [PATH, …]}  -> {"served": v2 hash} or {"refused": why}; files by their place in the tree
    {"sent": v2 hash}  -> {"files": [places in the tree of files that bytes were sent of, since it was last asked]}

Nothing is checked before it is sent: bytes on disk go out as they are, whatever their hash. It ends when stdin closes,
and after five minutes in any case.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

LIFETIME = 300.0
_LOADING: dict[str, int] = {
    "max_buffer_size": 2**30,
    "max_pieces": 2**24,
    "max_decode_tokens": 2**28,
    "max_decode_depth": 2**20,
}
_SETTINGS: dict[str, object] = {
    "alert_mask": lt.alert_category.error | lt.alert_category.status | lt.alert_category.upload,
    "alert_queue_size": 100_000,
    "allow_multiple_connections_per_ip": True,
    "close_redundant_connections": False,
    "disable_hash_checks": True,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_upnp": False,
    "dht_bootstrap_nodes": "",
    "min_reconnect_time": 1,
    "unchoke_slots_limit": -1,
    "webtorrent_stun_server": "",
}


class Seeder:
    """One engine session that serves what it is given."""

    def __init__(self, address: str) -> None:
        self._session = lt.session(cast("Any", {**_SETTINGS, "listen_interfaces": f"{address}:0"}))
        self._places: dict[str, dict[int, int]] = {}
        self._sent: dict[str, set[int]] = {}
        self._checked: set[str] = set()
        self._wait(lambda: self._session.is_listening())

    @property
    def port(self) -> int:
        return int(self._session.listen_port())

    def serve(self, torrent: Path, files: list[str]) -> dict[str, object]:
        try:
            params = lt.load_torrent_buffer(torrent.read_bytes(), cast("Any", _LOADING))
        except RuntimeError as error:
            return {"refused": str(error)}
        assert params.ti is not None
        layout = params.ti.layout()
        pad = lt.file_storage.flag_pad_file
        real = [index for index in range(layout.num_files()) if not layout.file_flags(index) & pad]
        if len(real) != len(files):
            return {"refused": f"{len(real)} files in the engine, {len(files)} in the tree"}
        key = str(params.info_hashes.v2)
        if key in self._places:
            return {"served": key}
        params.renamed_files = dict(zip(real, files, strict=True))
        params.save_path = str(torrent.parent)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        params.flags |= lt.torrent_flags.seed_mode | lt.torrent_flags.upload_mode
        self._sent[key] = set()
        handle = self._session.add_torrent(params)
        self._wait(lambda: key in self._checked)
        if not handle.status().is_seeding:
            self._session.remove_torrent(handle)
            return {"refused": "the engine would not seed it"}
        self._places[key] = {index: place for place, index in enumerate(real)}
        return {"served": key}

    def sent(self, key: str) -> dict[str, object]:
        self._look(0)
        found, self._sent[key] = self._sent[key], set()
        return {"files": sorted(found)}

    def _wait(self, done: Any) -> None:
        deadline = time.monotonic() + 10
        while not done() and time.monotonic() < deadline:
            self._look(100)

    def _look(self, milliseconds: int) -> None:
        self._session.wait_for_alert(milliseconds)
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.torrent_checked_alert | lt.torrent_error_alert | lt.file_error_alert):
                self._checked.add(str(alert.handle.info_hashes().v2))
            elif isinstance(alert, lt.block_uploaded_alert):
                info = alert.handle.torrent_file()
                assert info is not None
                index = info.layout().file_index_at_piece(alert.piece_index)
                key = str(alert.handle.info_hashes().v2)
                self._sent[key].add(self._places[key][index])


def main() -> None:
    watchdog = threading.Timer(LIFETIME, os._exit, (1,))
    watchdog.daemon = True
    watchdog.start()
    seeder = Seeder(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1")
    print(json.dumps({"port": seeder.port}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        path = order.get("serve")
        answer = seeder.serve(Path(path), order["files"]) if path else seeder.sent(order["sent"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
