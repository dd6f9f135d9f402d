"""A swarm in memory, with a virtual clock: what a fetch needs of the engine and of its torrent, and nothing real.

Time passes when the fetch waits for events. What happens at which second is a script; between its lines peers send as
many pieces a second as it says, the disk takes what it has room for, and lies are told.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.builders_metainfo import hashed_all
from weightshare.manifest.metainfo import Info, build_info, parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap
from weightshare.swarm.events import (
    CacheFlushed,
    Checked,
    Event,
    FileFailed,
    MetadataReceived,
    MetadataRefused,
    PieceFinished,
    TorrentFailed,
)
from weightshare.swarm.interviews import Round
from weightshare.swarm.kept import NOTHING, Kept
from weightshare.swarm.transport import Carrier, Crowd, Peer, TorrentStatus
from weightshare.units import KIB

PIECE = 16 * KIB
FILE = "model.safetensors"
PIECES = 100
INFO_BYTES = build_info(
    "sim",
    PIECE,
    hashed_all({MANIFEST_NAME: b"{}", FILE: bytes(PIECE * PIECES)}, PIECE, hybrid=False),
    hybrid=False,
)
INFO: Info = parse_info(INFO_BYTES)
POSITION = next(span.position for span in PieceMap(INFO).spans if span.file.path == FILE)
WANTED = set(next(span for span in PieceMap(INFO).spans if span.file.path == FILE).pieces)


class Swarm:
    """Engine, torrent and peers in one.

    Attributes:
        now: the virtual clock, in seconds.
        peers: connected peers; each of `honest` sends metadata, each of `lying` false metadata.
        pieces_a_second: how fast they send.
        with_peers: the pieces that somebody has.
        room: bytes the disk still takes.
        refusal: the errno with which it refuses.
        told: what the fetch asked for, in order.
        first: the pieces that are asked for before all others.
        only: the pieces that are asked for at all.
        last: the pieces that are asked for after all others.
        left_to_others: what the engine leaves of the cap.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.kept = NOTHING
        self.key = ""
        self.max_down = 0
        self.peers = 0
        self.seeds = 0
        self.banned = 0
        self.honest: set[Peer] = set()
        self.lying: set[Peer] = set()
        self.pieces_a_second = 0.0
        self.with_peers: set[int] = set(WANTED)
        self.people = Crowd()
        self.tracked = 0
        self.room = 1 << 40
        self.refusal = errno.ENOSPC
        self.told: list[str] = []
        self.first: set[int] = set()
        self.last: set[int] = set()
        self.left_to_others = 0
        self.only: set[int] = set(WANTED)
        self.rounds: list[Round] = []
        self.here: set[int] = set()
        self.connected: set[Peer] = set()
        self.cached: list[int] = []  # came, and is not on the disk yet
        self._halted = False
        self._owed = 0.0
        self._queue: list[Event] = []
        self._script: list[tuple[float, Callable[[], None]]] = []
        self._metadata = False

    # ---- the script

    def at(self, second: float, action: Callable[[], None]) -> None:
        """Do this at that second."""
        self._script.append((second, action))
        self._script.sort(key=lambda line: line[0])

    def say(self, event: Event) -> None:
        """Let the fetch hear this next."""
        self._queue.append(event)

    def clock(self) -> float:
        return self.now

    def free(self, _: Path) -> int:
        return self.room

    def another(self, following: Round) -> Swarm:
        """Another round of peers."""
        self.rounds.append(following)
        everybody = self.honest | self.lying
        self.connected = {following.alone} & everybody if following.alone else everybody - following.avoid
        self.peers = len(self.connected)
        return self

    # ---- the engine

    def events(self, timeout: float) -> list[Event]:
        assert self.now < 100_000, "a wait without a bound"
        self.now += timeout
        while self._script and self._script[0][0] <= self.now:
            self._script.pop(0)[1]()
        self._send(timeout)
        self._tell_metadata()
        heard, self._queue = self._queue, []
        return heard

    def _send(self, seconds: float) -> None:
        if self._halted or not self.peers:
            return
        self._owed += self.pieces_a_second * seconds
        missing = sorted(
            (self.only & self.with_peers) - self.here, key=lambda piece: (piece not in self.first, piece)
        )
        while self._owed >= 1 and missing:
            self._owed -= 1
            piece = missing.pop(0)
            self.here.add(piece)
            self.cached.append(piece)
            self.say(PieceFinished("", piece))

    def _tell_metadata(self) -> None:
        if self._metadata or not self.connected:
            return
        if self.connected & self.lying:
            self.say(MetadataRefused("", "metadata has mismatching info-hash"))
        else:
            self._metadata = True
            self.say(MetadataReceived(""))

    # ---- the torrent

    def info(self) -> bytes:
        return INFO_BYTES

    def engine_files(self) -> list[tuple[str, int, bytes | None]]:
        return [(f"{INFO.name}/{file.path}", file.size, file.pieces_root) for file in INFO.files]

    def numbers(self) -> list[int]:
        return list(range(len(INFO.files)))

    def want(self, positions: Collection[int]) -> None:
        self.told.append(f"want {sorted(positions)}")

    def want_only(self, pieces: Collection[int]) -> None:
        self.only = set(pieces)

    def want_first(self, pieces: Collection[int]) -> None:
        self.first = set(pieces)

    def want_last(self, pieces: Collection[int]) -> None:
        self.last = set(pieces)

    def add_piece(self, piece: int, data: bytearray) -> None:
        self.here.add(piece)
        self.cached.append(piece)
        self.say(PieceFinished("", piece))

    def asked(self) -> set[int]:
        return set()

    def asked_of_seeds(self) -> int:
        return 0

    def dial(self, now: float) -> None:
        pass

    def dialled(self) -> list[Peer]:
        return sorted(self.connected)

    def status(self) -> TorrentStatus:
        done = PIECE * len(self.here)
        return TorrentStatus(done, PIECE * PIECES, 0, 0, 0.0, 0.0, self.peers, self.seeds)

    def crowd(self) -> Crowd:
        return replace(self.people, peers=self.peers)

    def copies(self) -> list[int]:
        return [int(piece in self.with_peers) for piece in range(max(WANTED) + 1)]

    def trackers(self) -> int:
        return self.tracked

    def pieces(self) -> list[bool]:
        return [piece in self.here for piece in range(max(WANTED) + 1)]

    def flush(self) -> None:
        written = 0
        for piece in self.cached:
            if self.room >= PIECE and not self._halted:
                self.room -= PIECE
                written += 1
                continue
            self.here.discard(piece)
            self._refuse()
        self.cached = []
        self.say(CacheFlushed(""))

    def _refuse(self) -> None:
        reason = "No space left on device" if self.refusal == errno.ENOSPC else "refused"
        self.say(FileFailed("", "/staging/model.safetensors", self.refusal, reason))
        if self.refusal != errno.ENOSPC:
            self.say(TorrentFailed("", reason))
        self._halted = True

    def pause(self) -> None:
        self.told.append("pause")

    def begun(self) -> dict[int, list[bool]]:
        return {}

    def share_down(self, others: int) -> None:
        self.left_to_others = others

    def again(self, torrent: Carrier, kept: Kept) -> None:
        """What the disk gave back wrong is checked, which the script says was a passing fault."""
        self.told.append("again by v2 alone" if kept.v2_alone else "again")
        self.kept = kept
        self.peers, self.banned = self.peers + self.banned, 0
        self.here = (set(kept.here) | set(kept.begun)) & WANTED
        self.say(Checked(""))

    def count_up(self) -> None:
        pass

    def restart(self, kept: Kept) -> None:
        pass

    def reopen_sources(self) -> None:
        pass

    def resume_halted(self) -> None:
        self.told.append("go on")
        self._halted = False

    def save_resume(self) -> None:
        pass

    def connect_now(self) -> None:
        pass

    def open_up(self, trackers: Iterable[str], peers: Sequence[Peer]) -> None:
        pass

    def open_sources(self, trackers: Iterable[str], web_seeds: Iterable[str]) -> None:
        pass


class Proof:
    """A sink that believes what it is told; `bad` pieces read back wrong, once, and `wanted` are all it waits for."""

    def __init__(self) -> None:
        self.read: set[int] = set()
        self.bad: set[int] = set()
        self.wanted: set[int] = set(WANTED)

    def readable(self, pieces: Collection[int]) -> None:
        self.read.update(pieces)

    def refused(self) -> Collection[int]:
        again = self.read & self.bad
        self.bad -= again
        self.read -= again
        return again

    def settled(self) -> bool:
        return self.read >= self.wanted

    def busy(self) -> bool:
        return False

    def proven(self) -> int:
        return PIECE * len(self.read)

    def on_disk(self, piece: int) -> bool:
        return True

    def doubted(self) -> bool:
        return False

    def underway(self, finished: Collection[int], begun: Mapping[int, Sequence[bool]]) -> None:
        pass
