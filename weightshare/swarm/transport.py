"""What a fetch needs of the engine and of one torrent in it: our session and torrent, or those in a test's memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from weightshare.swarm.events import Event
from weightshare.swarm.kept import Kept

Peer = tuple[str, int]


@dataclass(frozen=True, slots=True)
class TorrentStatus:
    """What the engine says of a torrent just now. Sizes in bytes, rates in bytes a second.

    `done` and `wanted` are bytes of the wanted files; `wasted` came from peers for nothing, broken or once too often;
    `taken` is all that came, metadata and the protocol's own messages too.
    """

    done: int
    wanted: int
    wasted: int
    uploaded: int
    down_rate: float
    up_rate: float
    peers: int
    seeds: int
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Crowd:
    """How the connected peers treat us, in numbers of peers.

    Attributes:
        peers: all of them, web seeds left out.
        useful: have what is wanted.
        choking: those of them that let us have nothing.
        held_back: would send, and must wait for our own cap.
    """

    peers: int = 0
    useful: int = 0
    choking: int = 0
    held_back: int = 0


class Engine(Protocol):
    """A session, as far as a fetch needs it."""

    @property
    def max_down(self) -> int:
        """The cap on what comes in, bytes a second; 0 for none."""

    def events(self, timeout: float) -> list[Event]:
        """What happened, waiting at most `timeout` seconds for something to."""

    def share_down(self, others: int) -> None:
        """Leave so much of the cap on what comes in, bytes a second, to what comes past the engine."""

    def again(self, torrent: Carrier, kept: Kept) -> None:
        """Take a torrent up anew, after its files were found to hold something else."""


class Carrier(Protocol):
    """A torrent, as far as a fetch needs it; see `torrent.Torrent` for each."""

    kept: Kept
    key: str

    def info(self) -> bytes:
        """The raw info dictionary."""

    def engine_files(self) -> list[tuple[str, int, bytes | None]]:
        """The engine's own list of files."""

    def numbers(self) -> list[int]:
        """The engine's numbers of files."""

    def want(self, positions: Collection[int]) -> None:
        """Ask for just these files."""

    def want_only(self, pieces: Collection[int]) -> None:
        """Ask for just these pieces, from now on and after it is taken up anew."""

    def want_first(self, pieces: Collection[int]) -> None:
        """Ask for these pieces before all others."""

    def want_last(self, pieces: Collection[int]) -> None:
        """Ask peers for these pieces after all others."""

    def add_piece(self, piece: int, data: bytearray) -> None:
        """Give it a piece that did not come from a peer."""

    def asked(self) -> set[int]:
        """The pieces that are not whole and of which a block was asked for."""

    def asked_of_seeds(self) -> int:
        """Bytes on their way from peers that have everything."""

    def dial(self, now: float) -> None:
        """Connect to peers that are away."""

    def dialled(self) -> list[Peer]:
        """The connected peers that were dialled."""

    def status(self) -> TorrentStatus:
        """Where it stands."""

    def crowd(self) -> Crowd:
        """How the peers treat us."""

    def copies(self) -> list[int]:
        """How many connected peers have each piece."""

    def trackers(self) -> int:
        """How many trackers are asked."""

    def pieces(self) -> list[bool]:
        """Which pieces are here."""

    def flush(self) -> None:
        """Write out what is finished."""

    def pause(self) -> None:
        """Let go of all peers."""

    def begun(self) -> dict[int, list[bool]]:
        """The pieces that are not whole, with the blocks that are on the disk."""

    def count_up(self) -> None:
        """Take the engine's counts over, before it forgets the torrent."""

    def restart(self, kept: Kept) -> None:
        """Be added anew, with other things on the disk."""

    def reopen_sources(self) -> None:
        """Add the trackers and web seeds that it had before."""

    def resume_halted(self) -> None:
        """Take it up again after a disk error."""

    def save_resume(self) -> None:
        """Ask for resume data."""

    def connect_now(self) -> None:
        """Dial at once."""

    def open_up(self, trackers: Iterable[str], peers: Sequence[Peer]) -> None:
        """Let it find others than the one peer it was added for."""

    def open_sources(self, trackers: Iterable[str], web_seeds: Iterable[str]) -> None:
        """Add trackers and web seeds."""
