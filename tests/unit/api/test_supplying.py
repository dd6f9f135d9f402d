"""The threads between range sources and a transfer: what they hand on, whom they give up, and that they end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.waiting import until
from weightshare.api import supplying
from weightshare.api.supplying import Pool, Throttle, into_files
from weightshare.errors import DiskError, SourceError
from weightshare.swarm.supply import Brought, Run

PIECE = 1000
DATA = random.Random(1).randbytes(25 * PIECE + 7)


def run_of(first: int, count: int, path: str = "a") -> Run:
    """Pieces of DATA, as if it were all of a file."""
    offset = first * PIECE
    return Run(path, first, offset, min(count * PIECE, len(DATA) - offset), PIECE)


class Shelf:
    """A source that has DATA under any name but those it lacks.

    Attributes:
        asked: the paths it was asked for.
        failure: what it raises, if anything.
        gate: it hands on nothing before this is set.
    """

    def __init__(self, name: str = "hub", chunk: int = 333) -> None:
        self.name = name
        self.asked: list[str] = []
        self.failure: SourceError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._chunk = chunk

    def read(
        self,
        path: str,
        offset: int,
        length: int,
        *,
        take: Callable[[memoryview], None],
        stop: threading.Event,
    ) -> None:
        self.asked.append(path)
        while not self.gate.wait(0.02) and not stop.is_set():
            pass
        if self.failure is not None:
            raise self.failure
        view = memoryview(DATA)[offset : offset + length]
        for at in range(0, length, self._chunk):
            take(view[at : at + self._chunk])


def gather(pool: Pool, pieces: int) -> dict[int, Brought]:
    """So many pieces from a pool, waited for."""
    found: dict[int, Brought] = {}

    def look() -> bool:
        found.update({one.piece: one for one in pool.drain(1 << 30)})
        return len(found) >= pieces

    until(look, f"{pieces} pieces", within=10)
    return found


@pytest.mark.parametrize("chunk", [1, 333, PIECE, 7 * PIECE])
def test_runs_come_as_whole_pieces(chunk: int) -> None:
    with Pool([Shelf(chunk=chunk)]) as pool:
        pool.ask(run_of(22, 4))
        found = gather(pool, 4)
        until(pool.ended, "the end of the run")
    for piece, one in found.items():
        assert bytes(one.data) == DATA[piece * PIECE : (piece + 1) * PIECE]
        one.data.extend(b"padding")  # nothing looks into it any more
    assert len(found[25].data) == 7 + len(b"padding")


def test_bytes_go_where_they_belong(tmp_path: Path) -> None:
    run = run_of(3, 5, "sub/a")
    told: list[int] = []
    with into_files(tmp_path)(run, lambda piece, _: told.append(piece)) as take:
        view = memoryview(DATA)[run.offset : run.offset + run.length]
        take(view[:1500])
        assert told == [3]
        take(view[1500:])
    assert told == [3, 4, 5, 6, 7]
    assert (tmp_path / "sub" / "a").read_bytes()[3 * PIECE :] == DATA[3 * PIECE : 8 * PIECE]


def test_a_disk_that_refuses_is_no_fault_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with Pool([Shelf()]) as pool:
        pool.receive = into_files(tmp_path)
        pool.ask(run_of(0, 2))
        until(pool.ended, "the end of the run")
        with pytest.raises(DiskError):
            pool.check()
        assert not pool.dead()


def test_a_file_that_one_source_lacks_comes_from_another() -> None:
    poor, rich = Shelf("poor"), Shelf("rich")
    poor.failure = SourceError("404", lacks=True)
    said: list[str] = []
    with Pool([poor, rich], warn=said.append) as pool:
        for number in range(8):
            pool.ask(run_of(number, 1, f"file {number}"))
        until(lambda: len(pool.ended()) == 0 and len(poor.asked) + len(rich.asked) >= 8, "eight runs")
        rich_had = {one.source for one in gather(pool, 8 - len(poor.asked)).values()}
        assert rich_had == {"rich"}
        assert not pool.dead()
    assert len(poor.asked) <= 3 + supplying.READERS


def test_a_source_that_has_nothing_is_given_up() -> None:
    source = Shelf()
    source.failure = SourceError("The Hub has no such repository.", fatal=True)
    said: list[str] = []
    with Pool([source], warn=said.append) as pool:
        pool.ask(run_of(0, 1))
        until(pool.dead, "the end of the source")
        assert pool.words() == "The Hub has no such repository"
        assert pool.free() == 0
        until(pool.ended, "the end of the run")
    assert len(said) == 1


def test_a_source_that_asks_to_wait_is_left_alone() -> None:
    source = Shelf()
    source.failure = SourceError("429 Too Many Requests", retry_at=time.monotonic() + 50)
    with Pool([source]) as pool:
        pool.ask(run_of(0, 1))
        until(pool.waits, "the wait")
        assert pool.free() == 0
        assert pool.words().startswith("the Hub asks us to wait ")
        assert pool.words().endswith(" (429 Too Many Requests)")
    assert len(source.asked) == 1


def test_what_nobody_takes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supplying, "_ROOM", 3 * PIECE)
    with Pool([Shelf()]) as pool:
        pool.ask(run_of(0, 20))
        until(lambda: pool.read >= 3 * PIECE, "what may wait")
        assert pool.read <= 4 * PIECE
        assert len(gather(pool, 20)) == 20


def test_it_ends_while_a_source_says_nothing() -> None:
    source = Shelf()
    source.gate.clear()
    with Pool([source]) as pool:
        pool.ask(run_of(0, 5))
        until(lambda: source.asked, "a question")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("source-")]


def test_whoever_gave_wrong_bytes_is_named() -> None:
    said: list[str] = []
    with Pool([Shelf("cdn.example")], warn=said.append) as pool:
        pool.blame("cdn.example", "a.safetensors")
        assert pool.dead()
    assert said == [
        "cdn.example gave other bytes than the signed ones of 'a.safetensors'. It was asked for nothing more."
    ]


def test_a_rate_is_shared() -> None:
    now = 0.0
    throttle = Throttle(lambda: now)
    assert throttle(10_000) == 0
    throttle.pace(1000)
    assert throttle(500) == pytest.approx(0.5)
    assert throttle(500) == pytest.approx(1.0)
    throttle.pace(2000)  # a second's worth at the old rate is half a second's now
    assert throttle(0) == pytest.approx(0.5)
    now = 10.0
    assert throttle(2000) == pytest.approx(1.0)
    throttle.pace(0)
    assert throttle(10**9) == 0
