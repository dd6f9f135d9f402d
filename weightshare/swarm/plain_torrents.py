"""Torrents that the engine alone checks, piece by piece: all or some of their files, into files that the caller names.

Where they are v1 the check is by SHA-1, which says what to ask for again and proves nothing. Whoever needs a proof has
to make one of the files, before they get their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import libtorrent as lt

from weightshare.errors import MetainfoError, WeightshareError
from weightshare.swarm.events import Paused
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.kept import Kept
from weightshare.swarm.metadata import loaded, without_peers
from weightshare.swarm.piece_loop import TICK
from weightshare.swarm.session import Session
from weightshare.swarm.states import State
from weightshare.swarm.torrent import Peer, Torrent, priorities_of, real_files

_HALT_WAIT = 10.0


def add_plain(
    session: Session,
    info: bytes,
    folder: Path,
    files: Sequence[tuple[Path, int]],
    *,
    wanted: Collection[int],
    peers: Sequence[Peer] = (),
    layers: Mapping[bytes, bytes] | None = None,
) -> Torrent:
    """Add a torrent to be fetched; what is on the disk already is checked by the engine first.

    Args:
        session: where.
        info: the raw info dictionary.
        folder: where the engine may keep the parts of unwanted files that share a piece with a wanted one.
        files: where each goes, and its size in bytes, in the order of the torrent, pads left out.
        wanted: which of them to ask for, by their place.
        peers: dialled.
        layers: piece layers by pieces root, of a v2 torrent, as far as they are known.

    Raises:
        MetainfoError: the engine cannot read it, or sees other files.
    """
    document = without_peers(info, layers or {})

    def add(_: Kept) -> lt.torrent_handle:
        params, layout = loaded(document)
        indices = list(real_files(layout))
        if [layout.file_size(index) for index in indices] != [size for _, size in files]:
            raise MetainfoError(
                "The torrent's list of files reads differently in the torrent engine.",
                hint="The torrent is malformed or hostile; nothing of it was kept.",
                field="files",
            )
        params.trackers = []
        params.url_seeds = []
        params.renamed_files = {index: str(path) for index, (path, _) in zip(indices, files, strict=True)}
        params.file_priorities = priorities_of(layout, wanted)
        return session._add(params, folder)

    return session._attended(Torrent(add(Kept()), session.network, peers, add=add))


class PlainTransfer(Transfer):
    """A torrent on its way that the engine alone checks."""

    def bring(self, total: int, *, trackers: Iterable[str], web_seeds: Iterable[str]) -> int:
        """Bring what is wanted, and have it on the disk; returns the file bytes that came.

        Args:
            total: bytes that are wanted.
            trackers: asked from now on.
            web_seeds: likewise.

        Raises:
            NoPeersError, StalledError: no progress for the time allowed; resumable.
            NoSpaceError, DiskError: the disk refused; resumable.
        """
        self.machine.enter(State.DOWNLOADING, self.clock())
        self._disk.patient = True
        self.check(total)
        before = self.torrent.status().done
        self.torrent.connect_now()
        self.torrent.open_sources(trackers, web_seeds)
        while True:
            self.events()
            status = self.torrent.status()
            if status.done >= status.wanted:
                break
            self.look(done=status.done, total=status.wanted)
        self._flushed()
        return max(0, status.done - before)

    def halt(self) -> None:
        """Stop and have what came written out, in bounded time; a failure to do so is another's to tell."""
        self.torrent.pause()
        deadline = self.clock() + _HALT_WAIT
        with suppress(WeightshareError):
            while self.clock() < deadline:
                if any(isinstance(event, Paused) for event in self._engine.events(TICK)):
                    return
