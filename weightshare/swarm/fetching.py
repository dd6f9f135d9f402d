"""One torrent on its way: metadata, then the manifest alone, then the files, each wait bounded and with a reason.

The steps are separate so that the caller can put the gate between them: nothing but the manifest is asked for before
`fetch` is called. A piece is reported to the sink only when its bytes can be read from disk: libtorrent's
`piece_finished` comes earlier, so a flush is asked for and awaited first.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection
from pathlib import Path

from weightshare.errors import DiskError, MetainfoError, NoSpaceError, WeightshareError
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap
from weightshare.progress import Observer, Phase, Progress, ignore
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
)
from weightshare.swarm.order import Order
from weightshare.swarm.piece_loop import TICK, PieceLoop, Sink
from weightshare.swarm.session import Session
from weightshare.swarm.states import Observation, Watch
from weightshare.swarm.torrent import Torrent, same_files
from weightshare.swarm.tracker_troubles import TrackerTroubles

_REPORT_EVERY = 0.2
_DISK_WAIT = 60.0
_SUSPEND_WAIT = 10.0


class Transfer:
    """One torrent on its way.

    Args:
        session: where the torrent lives.
        torrent: the torrent.
        timeout: longest time without any progress in seconds, 0 for ever.
        observe: told several times a second how it goes.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        session: Session,
        torrent: Torrent,
        *,
        timeout: float,
        observe: Observer = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.torrent = torrent
        self.timeout = timeout
        self._observe = observe
        self.clock = clock
        self._trackers = TrackerTroubles()
        self._reported = 0.0
        self._wanted = 0  # bytes of the files that are fetched
        self._before = 0  # those of them that an earlier run had brought

    # ---- before the gate

    def metadata(self) -> bytes:
        """Wait for the raw info dictionary.

        Raises:
            NoPeersError, MetadataTimeoutError: it did not come in time.
            MetainfoError: it came and the engine cannot read it.
        """
        watch = Watch(Phase.METADATA, self.timeout, self.clock())
        while True:
            for event in self.events():
                if isinstance(event, MetadataReceived):
                    return self.torrent.info()
            self.look(watch, done=0, total=None)

    def manifest(self, info: Info, folder: Path) -> bytes:
        """Fetch the manifest, and nothing else, into `folder`; returns its bytes as read from there.

        Raises:
            MetainfoError: the engine sees other files than the raw file tree has.
            NoPeersError, StalledError: it did not come in time.
        """
        same_files(info, self.torrent)
        span = next(span for span in PieceMap(info).spans if span.file.path == MANIFEST_NAME)
        self.torrent.want({span.position})
        wanted = set(span.pieces)
        watch = Watch(Phase.MANIFEST, self.timeout, self.clock())
        while wanted:
            for event in self.events():
                if isinstance(event, PieceFinished):
                    wanted.discard(event.piece)
            if wanted:
                status = self.torrent.status()
                self.look(watch, done=status.done, total=status.wanted)
        self._flushed()
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
        order: Order | None = None,
    ) -> None:
        """Fetch the files at these places in the file tree and have the sink prove every piece from disk.

        Pieces are asked for rarest first; of those that the order names, a few at a time before all others.

        Raises:
            NoPeersError, StalledError: no progress for the time allowed; resumable.
            NoSpaceError, DiskError: the disk refused; resumable.
        """
        chosen = set(positions)
        self._wanted = sum(span.file.size for span in PieceMap(info).spans if span.position in chosen)
        # What was here is counted before anybody is dialled: a small file arrives in a moment.
        self._before = self._done()
        loop = PieceLoop(self, info, positions, sink, order)
        loop.begin()
        self.torrent.connect_now()
        self.torrent.open_sources(trackers, web_seeds)
        loop.run()

    def suspend(self, sink: Sink) -> bool:
        """Stop, write out what came and hand the sink its resume data, within a bounded time; whether that worked."""
        deadline = self.clock() + _SUSPEND_WAIT
        # First to a halt: what came while the data is being made would lie on the disk unknown to it.
        self.torrent.pause()
        paused = False
        while self.clock() < deadline:
            for event in self.session.events(TICK):
                if isinstance(event, Paused):
                    paused = True
                    self.torrent.save_resume()
                elif isinstance(event, ResumeSaved) and paused:
                    sink.resume_data(event.data)
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
        events = self.session.events(timeout)
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
                raise _disk_error(event)
            if isinstance(event, TorrentFailed):
                raise DiskError(
                    f"The torrent engine stopped: {event.reason}.",
                    hint="What arrived is kept: the same command resumes.",
                    path="",
                )
            self._trackers.hear(event)
        return events

    def look(
        self,
        watch: Watch,
        *,
        done: int,
        total: int | None,
        missing: int | None = None,
        shown: int | None = None,
    ) -> None:
        """Let the watch see where the transfer stands, and tell the observer now and then."""
        now = self.clock()
        status = self.torrent.status()
        note = watch.see(
            Observation(now, done, total, status.peers, status.seeds, missing, str(self._trackers))
        )
        if now - self._reported >= _REPORT_EVERY:
            self._reported = now
            self._observe(
                Progress(
                    watch.phase,
                    done if shown is None else shown,
                    total,
                    watch.rate(),
                    status.peers,
                    note,
                )
            )

    def _flushed(self) -> None:
        self.torrent.flush()
        self.wait_for(CacheFlushed, "the disk to take what arrived")

    def wait_for(
        self, kind: type[Event], what: str, *, limit: float | None = _DISK_WAIT, total: int | None = None
    ) -> None:
        """Wait for one kind of event; `limit` in seconds, None where only our own disk is waited for."""
        began = self.clock()
        watch = Watch(Phase.CHECKING, 0, began)
        while limit is None or self.clock() - began < limit:
            if any(isinstance(event, kind) for event in self.events()):
                return
            status = self.torrent.status()
            self.look(watch, done=min(status.done, total or 0), total=total)
        raise DiskError(
            f"Waited {limit:.0f} s for {what}.",
            hint="Is the disk very slow, or a network drive away? The same command resumes.",
            path="",
        )


def _disk_error(event: FileFailed) -> WeightshareError:
    hint = "What arrived is kept: the same command resumes."
    if event.code == errno.ENOSPC or "no space" in event.reason.lower():
        return NoSpaceError(
            f"The disk is full: {event.path or 'a file'} could not be written.",
            hint=f"Make space. {hint}",
            path=event.path,
        )
    if event.code == errno.EDQUOT:
        return NoSpaceError(
            f"The disk quota is used up: {event.path}.", hint=f"Make space. {hint}", path=event.path
        )
    return DiskError(
        f"The disk refused {event.path or 'a file'}: {event.reason}.", hint=hint, path=event.path
    )
