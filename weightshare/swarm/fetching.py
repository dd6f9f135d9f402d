"""One torrent on its way: metadata, then the manifest alone, then the files, each wait bounded and with a reason.

The steps are separate so that the caller can put the gate between them: nothing but the manifest is asked for before
`fetch` is called. A piece is reported to the sink only when its bytes can be read from disk: libtorrent's
`piece_finished` comes earlier, so a flush is asked for and awaited first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from weightshare.errors import DiskError, MetainfoError, StoreError
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap
from weightshare.progress import Observer, ignore
from weightshare.swarm.alerts import (
    CacheFlushed,
    Checked,
    Event,
    FileFailed,
    MetadataReceived,
    MetadataRefused,
    Paused,
    PieceFinished,
    ResumeFailed,
    ResumeSaved,
    TorrentFailed,
    TrackerAnswered,
    TrackerFailed,
)
from weightshare.swarm.disk_full import DiskPause, Free, free_space
from weightshare.swarm.interviews import Interviews, Round
from weightshare.swarm.looking import Looks
from weightshare.swarm.piece_loop import TICK, PieceLoop, Sink
from weightshare.swarm.states import Machine, State
from weightshare.swarm.torrent import same_files
from weightshare.swarm.transport import Carrier, Engine

_DISK_WAIT = 60.0
_SUSPEND_WAIT = 10.0


class Transfer:
    """One torrent on its way.

    Args:
        engine: the session that the torrent lives in.
        torrent: the torrent.
        machine: the fetch's state, which every step looks after.
        observe: told several times a second how it goes.
        clock: seconds that never go back.
        again: takes the torrent out and adds it anew, for another round of peers; None where it has its metadata.
        free: tells the bytes that are free where a path lies.
    """

    def __init__(
        self,
        engine: Engine,
        torrent: Carrier,
        machine: Machine,
        *,
        observe: Observer = ignore,
        clock: Callable[[], float] = time.monotonic,
        again: Callable[[Round], Carrier] | None = None,
        free: Free = free_space,
    ) -> None:
        self.torrent = torrent
        self.machine = machine
        self.clock = clock
        self._engine = engine
        self._looks = Looks(engine, machine, observe)
        self._again = again
        self._disk = DiskPause(free)
        self._wanted = 0  # bytes of the files that are fetched
        self._before = 0  # those of them that an earlier run had brought

    # ---- before the gate

    def metadata(self) -> bytes:
        """Wait for the raw info dictionary.

        Raises:
            NoPeersError, MetadataTimeoutError: it did not come in time.
            MetainfoError: it came and the engine cannot read it.
        """
        interviews = Interviews(self.clock())
        looked = self.clock()
        while True:
            following = None
            for event in self.events():
                if isinstance(event, MetadataReceived):
                    return self.torrent.info()
                if isinstance(event, MetadataRefused):
                    following = interviews.refused(self.clock(), self.torrent.dialled())
            now = self.clock()
            if following is None and now - looked >= TICK:
                looked = now
                following = interviews.look(now, self.torrent.dialled(), self.torrent.status().taken)
            if following is not None and self._again is not None:
                self.torrent = self._again(following)
            self.look(done=0, total=None, liars=len(interviews.liars))

    def manifest(self, info: Info, folder: Path) -> bytes:
        """Fetch the manifest, and nothing else, into `folder`; returns its bytes as read from there.

        Raises:
            MetainfoError: the engine sees other files than the raw file tree has.
            NoPeersError, StalledError: it did not come in time.
        """
        self.machine.enter(State.GATING, self.clock())
        same_files(info, self.torrent)
        span = next(span for span in PieceMap(info).spans if span.file.path == MANIFEST_NAME)
        self.torrent.want({span.position})
        wanted = set(span.pieces)
        while wanted:
            for event in self.events():
                if isinstance(event, PieceFinished):
                    wanted.discard(event.piece)
            if wanted:
                status = self.torrent.status()
                self.look(done=status.done, total=status.wanted)
        self.torrent.flush()
        self.wait_for(CacheFlushed, "the disk to take what arrived")
        return (folder / info.name / MANIFEST_NAME).read_bytes()

    # ---- after the gate

    def check(self, total: int, *, thorough: bool) -> None:
        """Wait until what an earlier run left is compared with the hashes, all of it if `thorough`."""
        if thorough:
            self.wait_for(Checked, "the torrent engine to look at the files", limit=None, total=total)
            self.torrent.recheck()
        self.wait_for(Checked, "the torrent engine to check the files", limit=None, total=total)

    def fetch(
        self,
        info: Info,
        positions: Collection[int],
        sink: Sink,
        *,
        trackers: Collection[str] = (),
        web_seeds: Collection[str] = (),
    ) -> None:
        """Fetch the files at these places in the file tree and have the sink prove every piece from disk.

        Raises:
            NoPeersError, StalledError: no progress for the time allowed; resumable.
            NoSpaceError: the disk filled up, and no space was made in the time allowed; resumable.
            DiskError: the disk refused; resumable.
        """
        self.machine.enter(State.DOWNLOADING, self.clock())
        self._disk.patient = True
        chosen = set(positions)
        self._wanted = sum(span.file.size for span in PieceMap(info).spans if span.position in chosen)
        # What was here is counted before anybody is dialled: a small file arrives in a moment.
        self._before = self._done()
        self.torrent.connect_now()
        self.torrent.open_sources(trackers, web_seeds)
        PieceLoop(self, info, positions, sink).run()

    def suspend(self, sink: Sink) -> bool:
        """Stop, write out what came and hand the sink its resume data, within a bounded time; whether that worked."""
        deadline = self.clock() + _SUSPEND_WAIT
        # First to a halt: what came while the data is being made would lie on the disk unknown to it.
        self.torrent.pause()
        paused = False
        while self.clock() < deadline:
            for event in self._engine.events(TICK):
                if isinstance(event, Paused):
                    paused = True
                    self.torrent.save_resume()
                elif isinstance(event, ResumeSaved) and paused:
                    try:
                        sink.resume_data(event.data)
                    except StoreError:  # the same full disk, as like as not, which is told already
                        return False
                    return True
                elif isinstance(event, ResumeFailed) and paused:
                    return False
        return False

    def received(self) -> int:
        """File bytes taken from peers in this run, each counted as often as it came; the manifest is none of them."""
        # What the engine counts as downloaded has a hybrid's padding in it with some peers, and not with others.
        return max(0, self._done() - self._before) + self.torrent.status().wasted

    def _done(self) -> int:
        # The engine counts the manifest too once it has everything.
        return min(self.torrent.status().done, self._wanted)

    # ---- shared by the steps

    def events(self, timeout: float = TICK) -> list[Event]:
        """What happened to this torrent; unreadable metadata and the disk's and the engine's failures are raised."""
        self.torrent.dial(self.clock())
        events = self._engine.events(timeout)
        for event in events:
            if isinstance(event, MetadataRefused) and "info-hash" not in event.reason.lower():
                # A wrong hash is one lying peer. The right hash over something unreadable is the release itself; the
                # engine then stops the torrent too, and this is the better of its two reasons.
                raise MetainfoError(
                    f"The torrent's metadata cannot be read: {event.reason}.",
                    hint="The magnet names a malformed or hostile torrent; nothing of it was kept.",
                    field="info",
                )
            if isinstance(event, FileFailed):
                self._disk.refused(event, self.clock())
            if isinstance(event, TorrentFailed) and not self._disk.full:
                raise DiskError(
                    f"The torrent engine stopped: {event.reason}.",
                    hint="What arrived is kept: the same command resumes.",
                    path="",
                )
            if isinstance(event, TrackerFailed | TrackerAnswered):
                self._looks.tracker(event)
        return events

    def look(
        self,
        *,
        done: int,
        total: int | None,
        shown: int | None = None,
        wanted: Collection[int] = (),
        here: Collection[int] = (),
        liars: int = 0,
    ) -> None:
        """Let the machine see where the transfer stands, and tell the observer now and then.

        Args:
            done: bytes here, for the wait.
            total: bytes wanted.
            shown: bytes here, for the observer, where that is another number.
            wanted: the pieces that are wanted.
            here: those of them that are here.
            liars: peers that gave false metadata.

        Raises:
            NetworkError, NoSpaceError: patience is at its end.
        """
        now = self.clock()
        shortage = self._disk.shortage((total or 0) - done, now)
        if shortage is None and self._disk.over():
            self.torrent.resume_halted()
            if self._disk.made:
                self.machine.anew(done, now)
        self._looks.look(
            self.torrent, now, done, total, shown=shown, wanted=wanted, here=here, liars=liars, full=shortage
        )

    def wait_for(
        self, kind: type[Event], what: str, *, limit: float | None = _DISK_WAIT, total: int | None = None
    ) -> None:
        """Wait for one kind of event; `limit` in seconds, None where only our own disk is waited for."""
        began = self.clock()
        while limit is None or self.clock() - began < limit:
            if any(isinstance(event, kind) for event in self.events()):
                return
            self._looks.show(self.torrent, self.clock(), min(self.torrent.status().done, total or 0), total)
        raise DiskError(
            f"Waited {limit:.0f} s for {what}.",
            hint="Is the disk very slow, or a network drive away? The same command resumes.",
            path="",
        )
