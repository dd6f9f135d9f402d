"""Joins range sources (the Hub, mirrors) and the swarm: threads read runs, and a transfer takes the whole pieces.

The threads never touch the engine. What they have read and nobody took yet is bounded: then they wait, and with them
the sources. All of them together keep to one rate.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from weightshare.errors import DiskError, NetworkError, NoSpaceError, StoreError
from weightshare.manifest.text import quoted
from weightshare.swarm.supply import Brought, Run
from weightshare.units import MIB, format_duration

READERS = 4
"""Runs read at once from one source: ranges side by side, as the Hub's own clients do."""
MOST_READERS = 8
"""Runs read at once in all."""

_ROOM = 64 * MIB  # bytes that were read and are not taken yet; a piece for each reader where that is more
_AHEAD = 2  # runs asked for, for each that is read
_TICK = 0.2
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
_STRIKES = 3  # files in a row that a source does not have, after which it is taken to have none
_CLOSING = 2.0


Take = Callable[[memoryview], None]
Put = Callable[[int, bytearray], None]
Receive = Callable[[Run, Put], AbstractContextManager[Take]]


class Source(Protocol):
    """A server that gives ranges of files; see `hub.ranges.RangeSource`."""

    @property
    def name(self) -> str:
        """`hub`, or the mirror's host."""

    def read(
        self,
        path: str,
        offset: int,
        length: int,
        *,
        take: Callable[[memoryview], None],
        stop: threading.Event,
    ) -> None:
        """Hand on so many bytes, in consecutive chunks, or raise a NetworkError."""


class Throttle:
    """A rate for all readers together: who takes bytes is told how long to wait. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._rate = 0
        self._due = 0.0

    def pace(self, rate: int) -> None:
        """From now on so many bytes a second; 0 for no limit."""
        with self._lock:
            if rate != self._rate:
                now = self._clock()
                # What is owed at the old rate is owed at the new one.
                owed = max(0.0, self._due - now) * self._rate
                self._rate = rate
                self._due = now + (owed / rate if rate else 0.0)

    def __call__(self, size: int) -> float:
        """Seconds to wait after so many bytes."""
        with self._lock:
            if not self._rate:
                return 0.0
            now = self._clock()
            self._due = max(self._due, now) + size / self._rate
            return self._due - now


@dataclass(slots=True)
class _State:
    """How a source stands."""

    source: Source
    busy: int = 0
    dead: str = ""
    until: float = 0.0  # not to be asked before
    why: str = ""
    failures: int = 0
    strikes: int = 0
    lacks: set[str] = field(default_factory=set)


class Pool:
    """Reads runs from sources in threads of its own; a context that ends them. See `swarm.supply.Supply`.

    Args:
        sources: whom to ask, the first ones first.
        throttle: what the sources were given, for `pace`.
        warn: told of a source that is asked no more.

    Attributes:
        receive: where bytes go.
        read: bytes that came so far, whole pieces or not.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        throttle: Throttle | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._states = [_State(source) for source in sources]
        self._throttle = throttle or Throttle()
        self._warn = warn
        self._changed = threading.Condition()
        self._asked: deque[Run] = deque()
        self._ended: list[Run] = []
        self._whole: deque[Brought] = deque()
        self._whole_bytes = 0
        self._working = 0
        self._stop = threading.Event()
        self._fault: StoreError | None = None
        self.receive: Receive = in_memory
        self.read = 0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all reading, in bounded time."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + _CLOSING
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for state in self._states:
            close = getattr(state.source, "close", None)
            if close is not None:
                close()

    # ---- what a transfer asks, never waiting

    def free(self) -> int:
        """How many more runs may be asked for just now."""
        with self._changed:
            readers = self._readers()
            return max(0, _AHEAD * readers - self._working - len(self._asked))

    def ask(self, run: Run) -> None:
        """Have a run fetched by whoever is free."""
        with self._changed:
            self._asked.append(run)
            if len(self._threads) < min(MOST_READERS, READERS * len(self._states)):
                name = f"source-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def drain(self, room: int) -> Sequence[Brought]:
        """Pieces that came, of about so many bytes at the most."""
        came = []
        with self._changed:
            while self._whole and room > 0:
                one = self._whole.popleft()
                self._whole_bytes -= len(one.data)
                room -= len(one.data)
                came.append(one)
            if came:
                self._changed.notify_all()
        return came

    def check(self) -> None:
        """Raise what went wrong on our own side.

        Raises:
            NoSpaceError, DiskError: what came could not be written.
        """
        if self._fault is not None:
            raise self._fault

    def ended(self) -> Sequence[Run]:
        """Runs that nobody works on any more, and of which nothing waits to be drained."""
        with self._changed:
            if self._whole or not self._ended:
                return ()
            ended, self._ended = self._ended, []
            return ended

    def blame(self, source: str, path: str) -> None:
        """Ask a source no more: it gave other bytes than the signed ones."""
        with self._changed:
            for state in self._states:
                if state.source.name == source and not state.dead:
                    self._give_up(
                        state, f"{named(source)} gave other bytes than the signed ones of {quoted(path)}"
                    )
            if self._all_dead():
                self._ended += self._asked
                self._asked.clear()

    def pace(self, rate: int) -> None:
        """Take in no more than so many bytes a second; 0 for no limit."""
        self._throttle.pace(rate)

    def dead(self) -> bool:
        """Whether there is no server left to ask."""
        with self._changed:
            return self._all_dead()

    def words(self) -> str:
        """How it stands, as a phrase for the user; empty where nothing was asked."""
        with self._changed:
            now = time.monotonic()
            if self._all_dead():
                return "; ".join(state.dead for state in self._states)
            if self._waiting(now):
                first = min(self._living(), key=lambda state: state.until)
                wait = format_duration(max(1.0, first.until - now))
                return f"{named(first.source.name)} asks us to wait {wait}" + _because(first.why)
            reading = [named(state.source.name) for state in self._states if state.busy]
            return f"fetching from {' and '.join(dict.fromkeys(reading))}" if reading else ""

    def waits(self) -> bool:
        """Whether all servers asked us to wait."""
        with self._changed:
            return self._waiting(time.monotonic())

    def told_to_wait(self, source: str, reason: str, seconds: float) -> None:
        """A source has to wait before it goes on with what it reads; it says so itself."""
        with self._changed:
            for state in self._states:
                if state.source.name == source:
                    state.until = max(state.until, time.monotonic() + seconds)
                    state.why = reason

    # ---- threads

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            state, run = work
            try:
                self._read(state, run)
                failure: NetworkError | None = None
            except NetworkError as error:
                failure = error
            except StoreError as error:
                failure, self._fault = None, error
            with self._changed:
                state.busy -= 1
                self._working -= 1
                self._ended.append(run)
                if not self._stop.is_set():
                    self._came_out(state, run, failure)
                self._changed.notify_all()

    def _next(self) -> tuple[_State, Run] | None:
        """The next run and who is to give it, once there is one; None at the end."""
        with self._changed:
            while not self._stop.is_set():
                now = time.monotonic()
                for run in self._asked:
                    able = [
                        state
                        for state in self._living()
                        if state.until <= now and state.busy < READERS and run.path not in state.lacks
                    ]
                    if able:
                        state = min(able, key=lambda one: one.busy)
                        self._asked.remove(run)
                        state.busy += 1
                        self._working += 1
                        return state, run
                hopeless = [r for r in self._asked if all(r.path in s.lacks for s in self._living())]
                for run in hopeless:
                    self._asked.remove(run)
                    self._ended.append(run)
                self._changed.wait(_TICK)
        return None

    def _read(self, state: _State, run: Run) -> None:
        def put(piece: int, data: bytearray) -> None:
            self._put(Brought(piece, data, state.source.name))

        with self.receive(run, put) as receive:

            def take(chunk: memoryview) -> None:
                receive(chunk)
                with self._changed:
                    self.read += len(chunk)

            state.source.read(run.path, run.offset, run.length, take=take, stop=self._stop)

    def _put(self, one: Brought) -> None:
        with self._changed:
            while self._whole_bytes >= _ROOM and not self._stop.is_set():
                self._changed.wait(_TICK)
            self._whole.append(one)
            self._whole_bytes += len(one.data)

    # ---- inside, the lock held

    def _came_out(self, state: _State, run: Run, failure: NetworkError | None) -> None:
        if failure is None:
            state.failures = state.strikes = 0
            state.until, state.why = 0.0, ""
            return
        why = failure.message.rstrip(".")
        if getattr(failure, "lacks", False):
            state.lacks.add(run.path)
            state.strikes += 1
            if state.strikes >= _STRIKES:
                self._give_up(state, why)
        elif getattr(failure, "fatal", False):
            self._give_up(state, why)
        else:
            state.failures += 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (state.failures - 1))
            state.until = max(state.until, getattr(failure, "retry_at", None) or time.monotonic() + wait)
            state.why = why
        if self._all_dead():
            self._ended += self._asked
            self._asked.clear()

    def _give_up(self, state: _State, why: str) -> None:
        if not state.dead:
            state.dead = why
            begun = why.replace("the Hub", "The Hub", 1) if why.startswith("the Hub") else why
            self._warn(f"{begun}. It was asked for nothing more.")

    def _living(self) -> list[_State]:
        return [state for state in self._states if not state.dead]

    def _all_dead(self) -> bool:
        return not self._living()

    def _waiting(self, now: float) -> bool:
        living = self._living()
        return bool(living) and all(state.until > now for state in living)

    def _readers(self) -> int:
        now = time.monotonic()
        ready = sum(READERS for state in self._living() if state.until <= now)
        return min(MOST_READERS, ready)


@contextmanager
def in_memory(run: Run, put: Put) -> Iterator[Take]:
    """Gather the bytes of a run into whole pieces."""
    piece, left = run.first, run.length
    data = bytearray(min(run.piece_length, left))
    view, filled = memoryview(data), 0

    def take(chunk: memoryview) -> None:
        nonlocal piece, left, data, view, filled
        at = 0
        while at < len(chunk):
            size = min(len(chunk) - at, len(view) - filled)
            view[filled : filled + size] = chunk[at : at + size]
            filled += size
            at += size
            if filled == len(view):
                view.release()  # the engine's side may add padding to it
                put(piece, data)
                piece, left = piece + 1, left - filled
                data = bytearray(min(run.piece_length, left))
                view, filled = memoryview(data), 0

    yield take


def into_files(folder: Path) -> Receive:
    """Write the bytes of runs where they belong below a folder, and hand on pieces without them."""

    @contextmanager
    def receive(run: Run, put: Put) -> Iterator[Take]:
        path = folder / run.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise disk_refused(path, error) from error
        done, told = 0, run.first

        def take(chunk: memoryview) -> None:
            nonlocal done, told
            try:
                while chunk:
                    size = os.pwrite(handle, chunk, run.offset + done)
                    done, chunk = done + size, chunk[size:]
            except OSError as error:
                raise disk_refused(path, error) from error
            whole = run.pieces.stop if done == run.length else run.first + done // run.piece_length
            for piece in range(told, whole):
                put(piece, bytearray())
            told = whole

        try:
            yield take
        finally:
            os.close(handle)

    return receive


def named(source: str) -> str:
    """A source as a user knows it."""
    return "the Hub" if source == "hub" else quoted(source).strip("'\"")


def _because(why: str) -> str:
    return f" ({why})" if why else ""


def disk_refused(path: Path, error: OSError) -> StoreError:
    """What to tell the user of a staged file that cannot be written."""
    hint = "Mend that; what is there is kept, and the same command resumes."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(f"The disk is full: {path} could not be written.", hint=hint, path=str(path))
    return DiskError(f"{path} cannot be written: {error.strerror or error}.", hint=hint, path=str(path))
