"""One torrent on its way: metadata, then the manifest alone, then the files, each wait bounded and with a reason.

The steps are separate so that the caller can put the gate between them: nothing but the manifest is asked for before
`fetch` is called. A piece is reported to the sink only when its bytes can be read from disk: libtorrent's
`piece_finished` comes earlier, so a flush is asked for and awaited first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from weightshare.errors import DiskError, MetainfoError
from weightshare.files import free_space
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap
from weightshare.progress import Observer, ignore
from weightshare.swarm.disk_full import DiskPause, Free
from weightshare.swarm.events import (
    CacheFlushed,
    Checked,
    Contradicted,
    Event,
    FileFailed,
    MetadataReceived,
    MetadataRefused,
    Paused,
    PieceFinished,
    PieceRefused,
    ReachedOurselves,
    TorrentFailed,
)
from weightshare.swarm.feeding import Feeder, Servers, split
from weightshare.swarm.interviews import Interviews, Round
from weightshare.swarm.kept import NOTHING, Kept, Tally
from weightshare.swarm.looking import Looks
from weightshare.swarm.order import Order
from weightshare.swarm.piece_loop import TICK, PieceLoop, Sink
from weightshare.swarm.states import Machine, State
from weightshare.swarm.torrent import same_files
from weightshare.swarm.transport import Carrier, Engine
from weightshare.units import BLOCK

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
        self._tally = Tally({}, NOTHING)
        self._lengths: dict[int, int] = {}
        self._refused: list[int] = []
        self._ourselves = False  # dialled, since the torrent was added
        self._begun = False
        self._feeder: Feeder | None = None

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

    def manifest(
        self, info: Info, folder: Path, elsewhere: Callable[[], bytes | None] = lambda: None
    ) -> bytes:
        """Fetch the manifest, and nothing else, into `folder`; returns its bytes as read from there.

        Args:
            info: the torrent.
            folder: where the torrent was added to.
            elsewhere: gives the manifest once it was found in another place, whose bytes have the torrent's hash.

        Raises:
            MetainfoError: the engine sees other files than the raw file tree has.
            NoPeersError, StalledError: it did not come in time.
        """
        self.machine.enter(State.GATING, self.clock())
        same_files(info, self.torrent)
        return self.few(info, [MANIFEST_NAME], folder, elsewhere)[MANIFEST_NAME]

    def few(
        self,
        info: Info,
        paths: Collection[str],
        folder: Path,
        elsewhere: Callable[[], bytes | None] = lambda: None,
    ) -> dict[str, bytes]:
        """Fetch these small files whole, and no others, into `folder`; returns their bytes as read from there.

        The swarm's check is all that was done to them: whoever uses them has to prove them.

        Args:
            info: the torrent.
            paths: files that are not empty.
            folder: where the torrent was added to.
            elsewhere: gives the only file of them, once it was found in another place.

        Raises:
            NoPeersError, StalledError: they did not come in time.
        """
        spans = [span for span in PieceMap(info).spans if span.file.path in set(paths)]
        here = {piece for piece, have in enumerate(self.torrent.pieces()) if have}
        self.torrent.want({span.position for span in spans})
        wanted = {piece for span in spans for piece in span.pieces} - here
        while wanted:
            for event in self.events():
                if isinstance(event, PieceFinished):
                    wanted.discard(event.piece)
            found = elsewhere() if wanted else None
            if found is not None:
                return dict.fromkeys(paths, found)
            if wanted:
                status = self.torrent.status()
                self.look(done=status.done, total=status.wanted)
        self._flushed()
        return {span.file.path: (folder / info.name / span.file.path).read_bytes() for span in spans}

    # ---- after the gate

    def check(self, total: int) -> None:
        """Wait until the engine has looked at the files; it does not read them."""
        self._ourselves = False
        self.wait_for(Checked, "the torrent engine to look at the files", limit=None, total=total)

    def fetch(
        self,
        info: Info,
        positions: Collection[int],
        sink: Sink,
        *,
        trackers: Collection[str] = (),
        web_seeds: Collection[str] = (),
        order: Order | None = None,
        only: Collection[int] | None = None,
        servers: Servers | None = None,
    ) -> None:
        """Fetch the files at these places in the file tree and have the sink prove every piece from disk.

        Pieces are asked for rarest first; of those that the order names, a few at a time before all others. With
        `only`, just these pieces of the files are fetched; it may then be called again with more of them. The
        `servers` of the first call help a swarm that is slow (see `supply`).

        Raises:
            NoPeersError, StalledError: no progress for the time allowed; resumable.
            NoSpaceError: the disk filled up, and no space was made in the time allowed; resumable.
            DiskError: the disk refused; resumable.
        """
        self.machine.enter(State.DOWNLOADING, self.clock())
        self._disk.patient = True
        chosen = set(positions)
        pieces = PieceMap(info)
        wanted = [p for span in pieces.spans if span.position in chosen for p in span.pieces]
        if only is not None:
            wanted = [piece for piece in wanted if piece in only]
            self.torrent.want_only(only)
        self._lengths = {piece: pieces.byte_range(piece)[2] for piece in wanted}
        if self._begun:
            self._tally.also(self._lengths)
        else:
            self._tally = Tally(self._lengths, self.torrent.kept)
            for piece in self._refused:  # while the engine looked at what was said to be here
                self._tally.refused(piece)
        if self._feeder is None and servers is not None:
            self._feeder = Feeder(
                self._engine,
                info,
                servers.supply,
                alone=servers.alone,
                provable=servers.provable,
                began=self.clock(),
            )
        loop = PieceLoop(self, info, positions, sink, order, only, self._feeder)
        loop.begin()
        if self._ourselves:
            loop.blame()
        if not self._begun:
            self._begun = True
            self.torrent.connect_now()
            self.torrent.open_sources(trackers, web_seeds)
        loop.run()

    def suspend(self, sink: Sink) -> bool:
        """Stop, write out what came and tell the sink what is not whole, in bounded time; whether that worked."""
        deadline = self.clock() + _SUSPEND_WAIT
        # First to a halt: what came meanwhile would lie on the disk unknown to anybody.
        self.torrent.pause()
        while self.clock() < deadline:
            for event in self._engine.events(TICK):
                if isinstance(event, Paused):
                    sink.underway(self._here(), self.torrent.begun())
                    return True
        return False

    def received(self) -> int:
        """File bytes taken from peers in this run, each counted as often as it came; the manifest is none of them."""
        fed = self._feeder.kept if self._feeder is not None else 0
        return max(0, self._tally.received(self.torrent.status().wasted) - fed)

    def brought(self) -> dict[str, int]:
        """File bytes taken from servers in this run, by source, each counted as often as it came."""
        return split(self._feeder.taken) if self._feeder is not None else {}

    def again(self, pieces: Collection[int], sink: Sink) -> None:
        """Have the engine check pieces that it had taken for whole, and fetch what is not right; none of the others."""
        self._flushed()
        doubtful = {piece for piece in pieces if sink.on_disk(piece)}
        self._tally.doubt(doubtful)
        self._tally.lost(set(pieces) - doubtful)
        kept = self.torrent.kept
        withheld = set(kept.withheld).difference(pieces)
        begun = {piece: bits for piece, bits in self.torrent.begun().items() if piece not in pieces}
        begun |= {piece: [True] * -(-self._lengths[piece] // BLOCK) for piece in doubtful}
        self._restart(Kept(self._here().difference(pieces, withheld), withheld, begun))

    def offer_all(self) -> None:
        """What was withheld has been proven: offer it to others."""
        self._flushed()
        self._restart(Kept(self._here(), (), self.torrent.begun()))

    def forgive(self) -> None:
        """Take the torrent up anew, so that the engine forgets whom it has banned."""
        self._flushed()
        self._restart(self._as_it_stands())

    def _by_v2_alone(self) -> None:
        """Another program wrote to a file while it was checked: check what is there once more, by SHA-256 alone."""
        if self.torrent.kept.v2_alone:
            raise DiskError(
                "The torrent engine stopped: a piece's hashes contradict each other.",
                hint="Does another program write to the files? What arrived is kept: the same command resumes.",
                path="",
            )
        self._restart(replace(self._as_it_stands(), v2_alone=True))

    def _here(self) -> set[int]:
        return {piece for piece, have in enumerate(self.torrent.pieces()) if have}

    def _as_it_stands(self) -> Kept:
        withheld = self.torrent.kept.withheld
        return Kept(self._here().difference(withheld), withheld, self.torrent.begun())

    def _restart(self, kept: Kept) -> None:
        self._engine.again(self.torrent, kept)
        self.wait_for(Checked, "the torrent engine to look at the files again", limit=None)
        self.torrent.connect_now()
        self.torrent.reopen_sources()

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
            if isinstance(event, PieceRefused):
                self._refused.append(event.piece)
                self._tally.refused(event.piece)
            if isinstance(event, ReachedOurselves):
                self._ourselves = True
            if isinstance(event, FileFailed):
                self._disk.refused(event, self.clock())
            if isinstance(event, TorrentFailed) and not self._disk.full:
                raise DiskError(
                    f"The torrent engine stopped: {event.reason}.",
                    hint="What arrived is kept: the same command resumes.",
                    path="",
                )
            self._looks.hear(event)
        if any(isinstance(event, Contradicted) for event in events):
            self._by_v2_alone()
            # Whoever waits for the look at the files has had it.
            events.append(Checked(self.torrent.key))
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
            self.torrent,
            now,
            done,
            total,
            shown=shown,
            wanted=wanted,
            here=here,
            liars=liars,
            full=shortage,
            feeder=self._feeder,
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

    def _flushed(self) -> None:
        self.torrent.flush()
        self.wait_for(CacheFlushed, "the disk to take what arrived")
