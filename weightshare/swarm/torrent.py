"""One torrent in an engine session: what is asked of it, and how it stands. It hands out no libtorrent object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import libtorrent as lt

from weightshare.errors import MetainfoError
from weightshare.manifest.metainfo import Info
from weightshare.swarm.alerts import key_of
from weightshare.swarm.lookup import Lookup
from weightshare.swarm.networks import Network, allowed_trackers, allowed_web_seeds, allows_host
from weightshare.units import BLOCK

Peer = tuple[str, int]


_REDIAL = 2.0
_PATIENCE = 2  # times that a peer may hang up before it is greeted otherwise
_USUAL, _V2 = 0x0D, 0x80  # libtorrent's `pex_flags`: encryption, uTP, hole punching; and `pex_lt_v2`
_NORMAL, _FIRST = 4, 7  # the engine's priorities


@dataclass(frozen=True, slots=True)
class TorrentStatus:
    """What the engine says of a torrent just now. Sizes in bytes, rates in bytes a second.

    `done` and `wanted` are bytes of the wanted files; `wasted` came from peers for nothing, broken or once too often.
    """

    state: str
    done: int
    wanted: int
    wasted: int
    uploaded: int
    down_rate: float
    up_rate: float
    peers: int
    seeds: int
    error: str
    halted: bool


class Torrent:
    """A torrent in a session; `key` names it in events."""

    def __init__(self, handle: lt.torrent_handle, network: Network, peers: Sequence[Peer]) -> None:
        self._handle = handle
        self._network = network
        self._peers = [peer for peer in peers if allows_host(network, peer[0])]
        self._awaited: list[Peer] = []  # their names are being looked up
        self._lookup = Lookup(network)
        self._hung_up: Counter[Peer] = Counter()
        self._has_v2 = handle.info_hashes().has_v2()
        self._dialled = 0.0
        self._first: set[int] = set()
        self.key = key_of(handle.info_hashes())

    def info(self) -> bytes:
        """The raw info dictionary; only once the metadata is here."""
        return bytes(self._metadata().info_section())

    def engine_files(self) -> list[tuple[str, int, bytes | None]]:
        """The engine's own list of files, pads left out: path from the torrent's name on, size, pieces root."""
        files = self._metadata().layout()
        found = []
        for index in real_files(files):
            root = files.root(index)
            found.append(
                (
                    files.file_path(index).replace("\\", "/"),
                    files.file_size(index),
                    None if root.is_all_zeros() else root.to_bytes(),
                )
            )
        return found

    def numbers(self) -> list[int]:
        """The engine's number of each file, in the order of the file tree."""
        return list(real_files(self._metadata().layout()))

    def want(self, positions: Collection[int]) -> None:
        """Ask for just these files, by their place in the file tree."""
        self._handle.prioritize_files(priorities_of(self._metadata().layout(), positions))

    def want_first(self, pieces: Collection[int]) -> None:
        """Ask for these wanted pieces before all others; those that were first until now are like all others again.

        By priority and not by deadline: with deadlines the engine cancels what it had asked for, asks peer after peer
        for the same block, and has no regard to what is rare.
        """
        first = set(pieces)
        for piece in self._first - first:
            self._handle.piece_priority(piece, _NORMAL)
        for piece in first - self._first:
            self._handle.piece_priority(piece, _FIRST)
        self._first = first

    def asked_of_seeds(self) -> int:
        """Bytes on their way from peers that have everything."""
        peers = self._handle.get_peer_info()
        return BLOCK * sum(peer.download_queue_length for peer in peers if peer.flags & lt.peer_info.seed)

    def _metadata(self) -> lt.torrent_info:
        found = self._handle.torrent_file()
        if found is None:
            raise AssertionError("the metadata is not here yet")
        return found

    def dial(self, now: float) -> None:
        """Connect to the peers given by address that are not connected, every few seconds as long as they are away."""
        self._awaited = [peer for peer in self._awaited if not self._connect(peer)]
        if not self._peers or now - self._dialled < _REDIAL:
            return
        self._dialled = now
        if self._handle.status().num_peers >= len(self._peers):
            return
        self._awaited = [peer for peer in self._peers if not self._connect(peer)]

    def _connect(self, peer: Peer) -> bool:
        """Dial a peer at all its addresses; False while they are being looked up."""
        host, port = peer
        addresses = self._lookup.addresses(host)
        for address in addresses or ():
            v2 = _V2 if self._hung_up[address, port] >= _PATIENCE and self._has_v2 else 0
            self._handle.connect_peer((address, port), 0, _USUAL | v2)
        return addresses is not None

    def hung_up(self, peer: Peer) -> None:
        """Note that a peer was reached and hung up before it said who it is.

        The engine greets by the v1 info-hash where a torrent has one. Whoever knows no more than the v2 one, as by a
        bare info-hash, hangs up; so does a busy peer, or one that wants encryption, hence not at the first time. By the
        v2 hash, clients of v1 could not be greeted at all.
        """
        self._hung_up[peer] += 1

    def status(self) -> TorrentStatus:
        """Where it stands."""
        status = self._handle.status()
        return TorrentStatus(
            state=str(status.state),
            done=status.total_wanted_done,
            wanted=status.total_wanted,
            wasted=status.total_failed_bytes + status.total_redundant_bytes,
            uploaded=status.total_payload_upload,
            down_rate=status.download_payload_rate,
            up_rate=status.upload_payload_rate,
            peers=status.num_peers,
            seeds=status.num_seeds,
            error=status.errc.message() if status.errc.value() else "",
            halted=bool(self._handle.flags() & lt.torrent_flags.upload_mode),
        )

    def nobody_has(self, pieces: Collection[int]) -> int | None:
        """The first of these pieces that no connected peer has, None if each has one."""
        counts = self._handle.piece_availability()
        return next((piece for piece in sorted(pieces) if piece < len(counts) and not counts[piece]), None)

    def pieces(self) -> list[bool]:
        """Which pieces are here, by index."""
        return list(self._handle.status(lt.torrent_handle.query_pieces).pieces)

    def dialled(self) -> list[Peer]:
        """The connected peers that we dialled, who can be dialled again."""
        ours = lt.peer_info.local_connection
        return [
            (str(peer.ip[0]), int(peer.ip[1])) for peer in self._handle.get_peer_info() if peer.flags & ours
        ]

    def flush(self) -> None:
        """Write out what is finished; `CacheFlushed` says when."""
        self._handle.flush_cache()

    def pause(self) -> None:
        """Let go of all peers and write out what came; `Paused` says when."""
        self._handle.pause()

    def recheck(self) -> None:
        """Compare all that is on disk with the hashes; `Checked` says when."""
        self._handle.force_recheck()

    def resume_halted(self) -> None:
        """Take a torrent that stopped at a disk error up again."""
        self._handle.unset_flags(lt.torrent_flags.upload_mode)

    def save_resume(self) -> None:
        """Ask for resume data; `ResumeSaved` or `ResumeFailed` brings it."""
        self._handle.save_resume_data(lt.torrent_handle.save_info_dict)

    def connect_now(self) -> None:
        """Dial the known peers at once and not at the engine's next second.

        The engine dials when a torrent is taken up from a pause. To be called before there are trackers: they would
        hear of the pause.
        """
        self._handle.pause()
        self._handle.resume()

    def open_sources(self, trackers: Iterable[str], web_seeds: Iterable[str]) -> None:
        """Add trackers, and web seeds (only after the gate), as far as the network allows."""
        for url in allowed_trackers(self._network, trackers):
            self._handle.add_tracker({"url": url})
        for url in allowed_web_seeds(self._network, web_seeds):
            self._handle.add_url_seed(url)


def same_files(info: Info, torrent: Torrent) -> None:
    """Hold the engine's list of files against the raw file tree.

    libtorrent renames what it finds unsafe, and cuts names longer than 240 bytes. The gate has refused all unsafe names
    already; should the engine still see other files than we do, a file's place in the list would mean two things.

    Raises:
        MetainfoError: they differ.
    """
    ours = [(f"{info.name}/{entry.path}", entry.size, entry.pieces_root) for entry in info.files]
    theirs = torrent.engine_files()
    if ours != theirs:
        odd = next((a[0] for a, b in zip(ours, theirs, strict=False) if a != b), "the number of files")
        raise MetainfoError(
            f"The torrent's file tree reads differently in the torrent engine, first at {odd!r}.",
            hint="The torrent is malformed or hostile; nothing of it was kept.",
            field="file tree",
        )


def real_files(files: lt.file_storage) -> Iterable[int]:
    """The engine's numbers of the real files, in the order of the file tree: the padding between them left out."""
    pad = lt.file_storage.flag_pad_file
    return (index for index in range(files.num_files()) if not files.file_flags(index) & pad)


def priorities_of(files: lt.file_storage, wanted: Collection[int]) -> list[int]:
    """The engine's priorities by its file numbers when just these places in the file tree are wanted."""
    priorities = [0] * files.num_files()
    for position, index in enumerate(real_files(files)):
        priorities[index] = _NORMAL if position in wanted else 0
    return priorities
