"""A fetch in a process of its own that reads every range the moment it is reported, and compares it with the original.

To be called as `python -m tests.integration.range_reader ORIGINALS HASTY WORDS`: `WORDS` is a JSON object of the
arguments of `weightshare.fetch`, and with `HASTY` as 1 ranges are reported when the engine calls their pieces finished.
Prints a JSON list for each report: path, begin, end, tensor, whether proven, whether its bytes are the original's, and
seconds since the first.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from weightshare.api.fetching import fetch
from weightshare.api.results import RangeReady
from weightshare.content.home import Home
from weightshare.swarm.piece_loop import PieceLoop


def main(originals: str, hasty: str, words: str) -> None:
    """Fetch, and print what is reported."""
    folder = Path(originals)
    began: list[float] = []

    def compare(ready: RangeReady) -> None:
        if not began:
            began.append(time.monotonic())
        seconds = time.monotonic() - began[0]
        same = _read(folder / ready.path, ready) == _read(ready.location, ready)
        report = [ready.path, ready.begin, ready.end, ready.tensor, ready.proven, same, round(seconds, 3)]
        print(json.dumps(report), flush=True)

    if hasty == "1":
        _report_at_once()
    how: dict[str, Any] = json.loads(words)
    home = Home(Path(how.pop("home")))
    peers = [(host, port) for host, port in how.pop("peers")]
    fetch(home=home, network="local", peers=peers, on_range=compare, timeout=20, **how)


def _read(path: Path, ready: RangeReady) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(ready.begin)
            return file.read(ready.end - ready.begin)
    except FileNotFoundError:
        return b""


def _report_at_once() -> None:
    """Take the engine's word that a piece is finished for that it can be read."""
    take = PieceLoop._take

    def hasty(self: PieceLoop, pieces: Iterable[int]) -> None:
        known = tuple(pieces)
        take(self, known)
        if self._order is not None:
            self._order.readable(known)

    PieceLoop._take = hasty  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
