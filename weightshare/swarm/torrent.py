"""One torrent in an engine session: what is asked of it, and how it stands. It hands out no libtorrent object."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Sequence

import libtorrent as lt

from weightshare.errors import MetainfoError
from weightshare.manifest.metainfo import Info
from weightshare.swarm.alerts import key_of
from weightshare.swarm.networks import Network, allowed_urls, allows_host
from weightshare.swarm.redialling import EVERY, Redial
from weightshare.swarm.transport import Carrier, Crowd, Peer, TorrentStatus

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
_HALF_OPEN = lt.peer_info.connecting | lt.peer_info.handshake


class Torrent:
    """A torrent in a session; `key` names it in events."""

    def __init__(self, handle: lt.torrent_handle, network: Network, peers: Sequence[Peer]) -> None:
        self._handle = handle
        self._network = network
        self._peers = [peer for peer in peers if allows_host(network, peer[0])]
        self._redial = Redial(())
        self._looked = float("-inf")
        self._addresses: dict[str, list[str]] = {}
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

    def _metadata(self) -> lt.torrent_info:
        found = self._handle.torrent_file()
        if found is None:
            raise AssertionError("the metadata is not here yet")
        return found

    def dial(self, now: float) -> None:
        """Connect to the peers given by address, and to those that served us, every few seconds while they are away."""
        if now - self._looked < EVERY:
            return
        self._looked = now
        dialled = self.dialled()
        self._redial.give(self._away(dialled))
        for peer in self._redial.due(now, dialled):
            # The engine waits longer after each failure, and at last for ever; a tracker's word for a peer takes one
            # failure back, and so does ours.
            self._handle.connect_peer(peer, lt.peer_info.tracker)

    def open_up(self, trackers: Iterable[str], peers: Sequence[Peer]) -> None:
        """Let a torrent that was added for one peer alone find others too; `peers` are dialled while they are away."""
        self._handle.unset_flags(ALL_WAYS & ~closed_ways(self._network))
        self.open_sources(trackers, ())
        known = set(self._peers)
        self._peers += [peer for peer in peers if peer not in known and allows_host(self._network, peer[0])]

    def _away(self, dialled: Collection[Peer]) -> list[Peer]:
        """The addresses of those given peers of which no address is connected."""
        away: list[Peer] = []
        for host, port in self._peers:
            known = self._addresses.get(host, ())
            if any((address, port) in dialled for address in known):
                continue
            self._addresses[host] = _addresses(host, self._network)
            away.extend((address, port) for address in self._addresses[host])
        return away

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
            taken=status.total_download,
        )

    def crowd(self) -> Crowd:
        """How the connected peers treat us."""
        useful = choking = held_back = 0
        for peer in self._handle.get_peer_info():
            if peer.flags & _HALF_OPEN:
                continue
            wanted = bool(peer.flags & lt.peer_info.interesting)
            choked = bool(peer.flags & lt.peer_info.remote_choked)
            useful += wanted
            choking += wanted and choked
            held_back += wanted and not choked and bool(peer.read_state & lt.peer_info.bw_limit)
        return Crowd(useful, choking, held_back)

    def copies(self) -> list[int]:
        """How many connected peers have each piece, by index; empty while that is unknown."""
        return list(self._handle.piece_availability())

    def trackers(self) -> int:
        """How many trackers are asked."""
        return len(self._handle.trackers())

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
        """Take a torrent that stopped at a disk error up again, whichever way the engine stopped it."""
        self._handle.clear_error()
        self._handle.unset_flags(lt.torrent_flags.upload_mode)
        self._handle.resume()

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
        for url in allowed_urls(self._network, trackers):
            self._handle.add_tracker({"url": url})
        for url in allowed_urls(self._network, web_seeds):
            self._handle.add_url_seed(url)


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
        priorities[index] = 4 if position in wanted else 0
    return priorities


def _addresses(host: str, network: Network) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return [address for address in addresses if allows_host(network, address)]
