"""One torrent in an engine session: what is asked of it, and how it stands. It hands out no libtorrent object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import libtorrent as lt

from weightshare.errors import MetainfoError
from weightshare.manifest.metainfo import Info
from weightshare.swarm.alerts import key_of
from weightshare.swarm.kept import NOTHING, Kept
from weightshare.swarm.lookup import Lookup
from weightshare.swarm.networks import Network, allowed_trackers, allowed_web_seeds, allows_host
from weightshare.swarm.redialling import EVERY, Redial
from weightshare.swarm.settings import SKIP_V1_HASHES
from weightshare.swarm.transport import Carrier, Crowd, Peer, TorrentStatus
from weightshare.units import BLOCK

__all__ = [
    "ALL_WAYS",
    "Peer",
    "Torrent",
    "TorrentStatus",
    "closed_ways",
    "priorities_of",
    "real_files",
    "same_files",
]

ALL_WAYS = lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd | lt.torrent_flags.disable_pex
_PATIENCE = 2  # times that a peer may hang up before it is greeted otherwise
_USUAL, _V2 = 0x0D, 0x80  # libtorrent's `pex_flags`: encryption, uTP, hole punching; and `pex_lt_v2`
_LAST, _NORMAL, _FIRST = 1, 4, 7  # the engine's priorities
_FINISHED = 3  # of libtorrent's block states: written to the disk
_SOON = 0.1  # seconds until the next look while a name is being looked up
_HALF_OPEN = lt.peer_info.connecting | lt.peer_info.handshake
_WEB = (lt.peer_info.web_seed, lt.peer_info.http_seed)


class Torrent:
    """A torrent in a session; `key` names it in events, and `kept` is what it was last told of the disk.

    While `sealed` it has no tracker, no web seed and no other way to be found; its session sets that.
    """

    def __init__(
        self,
        handle: lt.torrent_handle,
        network: Network,
        peers: Sequence[Peer],
        *,
        add: Callable[[Kept], lt.torrent_handle] | None = None,
        kept: Kept = NOTHING,
    ) -> None:
        self._handle = handle
        self.sealed = False
        self._add = add
        self.kept = kept
        self._wasted = 0  # before it was last taken up anew
        self._uploaded = 0
        self._sources: tuple[list[str], list[str]] = ([], [])
        self._network = network
        self._peers = [peer for peer in peers if allows_host(network, peer[0])]
        self._redial = Redial(())
        self._looked = float("-inf")
        self._lookup = Lookup(network)
        self._hung_up: Counter[Peer] = Counter()
        self._has_v2 = handle.info_hashes().has_v2()
        self._first: set[int] = set()
        self._last: set[int] = set()
        self._only: frozenset[int] | None = None
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

    def want_only(self, pieces: Collection[int]) -> None:
        """Ask for just these pieces, from now on and after it is taken up anew. What is withheld is not asked for."""
        self._only = frozenset(pieces)
        self._first, self._last = set(), set()
        total = self._metadata().num_pieces()
        wanted = self._only.difference(self.kept.withheld)
        self._handle.prioritize_pieces([_NORMAL if piece in wanted else 0 for piece in range(total)])

    def want_first(self, pieces: Collection[int]) -> None:
        """Ask for these wanted pieces before all others; those that were first until now are like all others again.

        By priority and not by deadline: with deadlines the engine cancels what it had asked for, asks peer after peer
        for the same block, and has no regard to what is rare.
        """
        first = set(pieces)
        for piece in self._first - first:
            self._handle.piece_priority(piece, _LAST if piece in self._last else _NORMAL)
        for piece in first - self._first:
            self._handle.piece_priority(piece, _FIRST)
        self._first = first

    def want_last(self, pieces: Collection[int]) -> None:
        """Ask peers for these wanted pieces after all others, since somebody else brings them."""
        last = set(pieces)
        for piece in self._last - last:
            self._handle.piece_priority(piece, _FIRST if piece in self._first else _NORMAL)
        for piece in last - self._last:
            self._handle.piece_priority(piece, _LAST)
        self._last = last

    def add_piece(self, piece: int, data: bytearray) -> None:
        """Give the engine a piece that did not come from a peer; `PieceFinished` or `PieceRefused` says what it is.

        Blocks that are here already stay. libtorrent passes over data of another length than the piece has to its
        peers: a hybrid's piece at the end of a file is as long as any other there, filled with zeros, while v1's hashes
        count, and is as long as the file leaves it otherwise.

        Args:
            piece: not here yet.
            data: the file's own bytes; they may be added to.
        """
        if self._padded:
            data.extend(bytes(self._metadata().piece_size(piece) - len(data)))
        self._handle.add_piece(piece, data, 0)  # type: ignore[arg-type]

    def asked(self) -> set[int]:
        """The pieces that are not whole and of which a block was asked for, or came."""
        return {int(piece["piece_index"]) for piece in self._handle.get_download_queue()}

    def asked_of_seeds(self) -> int:
        """Bytes on their way from peers that have everything."""
        peers = self._handle.get_peer_info()
        return BLOCK * sum(peer.download_queue_length for peer in peers if peer.flags & lt.peer_info.seed)

    @property
    def _padded(self) -> bool:
        hashes = self._handle.info_hashes()
        return bool(hashes.has_v1()) and not self._handle.flags() & SKIP_V1_HASHES

    def _metadata(self) -> lt.torrent_info:
        found = self._handle.torrent_file()
        if found is None:
            raise AssertionError("the metadata is not here yet")
        return found

    def dial(self, now: float) -> None:
        """Connect to the peers given by address, and to those that served us, every few seconds while they are away."""
        if now - self._looked < (EVERY if self._lookup.settled else _SOON):
            return
        self._looked = now
        dialled = self.dialled()
        self._redial.give(self._away(dialled))
        for peer in self._redial.due(now, dialled):
            v2 = _V2 if self._hung_up[peer] >= _PATIENCE and self._has_v2 else 0
            # The engine waits longer after each failure, and at last for ever; a tracker's word for a peer takes one
            # failure back, and so does ours.
            self._handle.connect_peer(peer, lt.peer_info.tracker, _USUAL | v2)

    def hung_up(self, peer: Peer) -> None:
        """Note that a peer was reached and hung up before it said who it is.

        The engine greets by the v1 info-hash where a torrent has one. Whoever knows no more than the v2 one, as by a
        bare info-hash, hangs up; so does a busy peer, or one that wants encryption, hence not at the first time. By the
        v2 hash, clients of v1 could not be greeted at all.
        """
        self._hung_up[peer] += 1

    def open_up(self, trackers: Iterable[str], peers: Sequence[Peer]) -> None:
        """Let a torrent that was added for one peer alone find others too; `peers` are dialled while they are away."""
        if not self.sealed:
            self._handle.unset_flags(ALL_WAYS & ~closed_ways(self._network))
        self.open_sources(trackers, ())
        known = set(self._peers)
        self._peers += [peer for peer in peers if peer not in known and allows_host(self._network, peer[0])]

    def unseal(self, trackers: Iterable[str], web_seeds: Iterable[str]) -> None:
        """Let a torrent of a session that was sealed be found; see `Session.unseal`."""
        self.sealed = False
        self._handle.unset_flags(ALL_WAYS & ~closed_ways(self._network))
        # Taken up from a pause it is announced on the LAN, which can be asked for in no other way. Trackers would hear
        # of the pause, and there are none yet.
        self._handle.pause()
        self._handle.resume()
        self.open_sources(trackers, web_seeds)
        self.announce()

    def announce(self) -> None:
        """Tell trackers and the DHT now and not when it is time; as far as the torrent may."""
        self._handle.force_reannounce()
        self._handle.force_dht_announce()

    def _away(self, dialled: Collection[Peer]) -> list[Peer]:
        """The addresses of those given peers of which no address is connected, as far as they are known."""
        away: list[Peer] = []
        for host, port in self._peers:
            addresses = [(address, port) for address in self._lookup.addresses(host) or ()]
            if not any(address in dialled for address in addresses):
                away += addresses
        return away

    def status(self) -> TorrentStatus:
        """Where it stands."""
        # Asked for ten times a second: all the engine could tell besides includes lists of all pieces.
        status = self._handle.status(lt.torrent_handle.query_accurate_download_counters)
        return TorrentStatus(
            done=status.total_wanted_done,
            wanted=status.total_wanted,
            wasted=self._wasted + status.total_failed_bytes + status.total_redundant_bytes,
            uploaded=self._uploaded + status.total_payload_upload,
            down_rate=status.download_payload_rate,
            up_rate=status.upload_payload_rate,
            peers=status.num_peers,
            seeds=status.num_seeds,
            taken=status.total_download,
        )

    def crowd(self) -> Crowd:
        """How the connected peers treat us."""
        peers = useful = choking = held_back = 0
        for peer in self._handle.get_peer_info():
            if peer.flags & _HALF_OPEN:
                continue
            peers += peer.connection_type not in _WEB
            wanted = bool(peer.flags & lt.peer_info.interesting)
            choked = bool(peer.flags & lt.peer_info.remote_choked)
            useful += wanted
            choking += wanted and choked
            held_back += wanted and not choked and bool(peer.read_state & lt.peer_info.bw_limit)
        return Crowd(peers, useful, choking, held_back)

    def copies(self) -> list[int]:
        """How many connected peers have each piece, by index; empty while that is unknown."""
        return list(self._handle.piece_availability())

    def trackers(self) -> int:
        """How many trackers are asked."""
        return len(self._handle.trackers())

    def pieces(self) -> list[bool]:
        """Which pieces are here, by index; those that are withheld too."""
        here = list(self._handle.status(lt.torrent_handle.query_pieces).pieces)
        for piece in self.kept.withheld:
            here[piece] = True
        return here

    def begun(self) -> dict[int, list[bool]]:
        """The pieces that are not whole, with the blocks that are on the disk."""
        begun = {}
        for piece in self._handle.get_download_queue():
            bits = [block["state"] == _FINISHED for block in piece["blocks"]]
            if any(bits):
                begun[int(piece["piece_index"])] = bits
        return begun

    def dialled(self) -> list[Peer]:
        """The connected peers that we dialled, who can be dialled again."""
        ours = lt.peer_info.local_connection
        return [
            (str(peer.ip[0]), int(peer.ip[1])) for peer in self._handle.get_peer_info() if peer.flags & ours
        ]

    def came(self) -> set[str]:
        """The addresses of the connected peers that dialled us."""
        ours = lt.peer_info.local_connection | _HALF_OPEN
        return {str(peer.ip[0]) for peer in self._handle.get_peer_info() if not peer.flags & ours}

    def connected_of(self, peers: Iterable[Peer]) -> list[Peer]:
        """Those of these peers, given by the addresses they listen on, who are connected, and all that we dialled."""
        hosts = {str(peer.ip[0]) for peer in self._handle.get_peer_info()}
        return list(dict.fromkeys([*self.dialled(), *(peer for peer in peers if peer[0] in hosts)]))

    def flush(self) -> None:
        """Write out what is finished; `CacheFlushed` says when."""
        self._handle.flush_cache()

    def pause(self) -> None:
        """Let go of all peers and write out what came; `Paused` says when."""
        self._handle.pause()

    def count_up(self) -> None:
        """Take the engine's counts over, before it forgets the torrent."""
        status = self.status()
        self._wasted, self._uploaded = status.wasted, status.uploaded

    def restart(self, kept: Kept) -> None:
        """Be added anew, with other things on the disk; only for a torrent that was just removed."""
        if self._add is None:
            raise AssertionError("only a torrent that is fetched is taken up anew")
        self.kept = replace(kept, v2_alone=kept.v2_alone or self.kept.v2_alone)
        self._handle = self._add(self.kept)
        self._first, self._last = set(), set()
        if self._only is not None:
            self.want_only(self._only)
        self._looked = float("-inf")

    def reopen_sources(self) -> None:
        """Add the trackers and web seeds that it had before it was taken up anew."""
        trackers, web_seeds = self._sources
        self._sources = ([], [])
        self.open_sources(trackers, web_seeds)

    def resume_halted(self) -> None:
        """Take a torrent that stopped at a disk error up again, whichever way the engine stopped it."""
        self._handle.clear_error()
        self._handle.unset_flags(lt.torrent_flags.upload_mode)
        self._handle.resume()

    def save_resume(self) -> None:
        """Ask for the engine's resume data; `ResumeSaved` or `ResumeFailed` brings it."""
        self._handle.save_resume_data(lt.torrent_handle.save_info_dict)

    def connect_now(self) -> None:
        """Dial the known peers at once and not at the engine's next second.

        The engine dials when a torrent is taken up from a pause. To be called before there are trackers: they would
        hear of the pause. Where it is dialling already a pause would cut that off, and for two seconds.
        """
        if self._handle.get_peer_info():
            return
        self._handle.pause()
        self._handle.resume()

    def open_sources(self, trackers: Iterable[str], web_seeds: Iterable[str]) -> None:
        """Add trackers, and web seeds (only after the gate), as far as the network allows; none while sealed."""
        if self.sealed:
            return
        for url in allowed_trackers(self._network, trackers):
            self._handle.add_tracker({"url": url})
            self._sources[0].append(url)
        for url in allowed_web_seeds(self._network, web_seeds):
            self._handle.add_url_seed(url)
            self._sources[1].append(url)


def closed_ways(network: Network) -> int:
    """The ways to find peers that a network has no use for."""
    flags = 0
    if network is not Network.PUBLIC:
        flags |= lt.torrent_flags.disable_dht
    if network is Network.LOCAL:
        flags |= lt.torrent_flags.disable_lsd
    return flags


def same_files(info: Info, torrent: Carrier) -> None:
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
