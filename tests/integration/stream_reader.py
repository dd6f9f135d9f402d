"""A load beside a fetch in a process of its own, which tells in which order things happen.

To be called as `python -m tests.integration.stream_reader ORIGINALS WORDS`: `WORDS` is a JSON object of the arguments
of `api.streaming.Streaming`. With `damage` among them, the path and offset of a byte, that byte is changed in the
staged file before its piece is told. Prints JSON lines: events, and at the end what became of it.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from weightshare.api.following import Underway
from weightshare.api.streaming import Streaming
from weightshare.content.home import Home
from weightshare.errors import WeightshareError
from weightshare.load import meter
from weightshare.progress import Phase, Progress

_LOCK = threading.Lock()


def say(**facts: object) -> None:
    """One line, whole, whichever thread says it."""
    with _LOCK:
        print(json.dumps(facts), flush=True)


class Told(Streaming):
    """Says what it is told, and damages what it shall."""

    damage: tuple[str, int] | None = None

    def begin(self, underway: Underway) -> None:
        """Keep where the files lie."""
        self.locations = underway.locations
        self.piece_length = underway.verified.manifest.torrent.piece_length
        super().begin(underway)

    def piece(self, path: str, number: int, *, proven: bool) -> None:
        """Say it, once it has been handed on; damage it before."""
        if self.damage is not None and not proven:
            victim, offset = self.damage
            if (victim, offset // self.piece_length) == (path, number):
                with self.locations[path].open("r+b") as file:
                    file.seek(offset)
                    byte = file.read(1)
                    file.seek(offset)
                    file.write(bytes([byte[0] ^ 1]))
        say(event="proven" if proven else "readable", path=path, piece=number)
        super().piece(path, number, proven=proven)


def main(originals: str, words: str) -> None:
    """Stream, and compare."""
    how: dict[str, Any] = json.loads(words)
    home = Home(Path(how.pop("home")))
    peers = [(host, port) for host, port in how.pop("peers")]
    if (damage := how.pop("damage", None)) is not None:
        Told.damage = str(damage[0]), int(damage[1])
    meter._EVERY = 0.0
    streaming = Told(model=False, home=home, network="local", peers=peers, **{"timeout": 20, **how})
    # What the load reports is shown beside the fetch only; here each report counts.
    load = streaming._progress.load

    def loaded(progress: Progress) -> None:
        if progress.phase is Phase.LOADING:
            say(event="loaded", bytes=progress.done, of=progress.total)
        load(progress)

    streaming._progress.load = loaded  # type: ignore[method-assign]
    try:
        with streaming:
            tensors = streaming.tensors()
            fetched = streaming.fetched()
    except WeightshareError as error:
        facts = {name: error.facts.get(name) for name in ("path", "pieces")}
        say(event="failed", exit=error.exit_code, kind=error.kind, **facts)
        return
    wanted = {
        n: t for path in sorted(Path(originals).glob("*.safetensors")) for n, t in load_file(path).items()
    }
    same = tensors.keys() == wanted.keys() and all(tensors[name].equal(wanted[name]) for name in wanted)
    say(event="done", same=same, complete=fetched.complete, swarm=fetched.received.swarm)


if __name__ == "__main__":
    main(*sys.argv[1:])
