"""One engine session. Nothing above this package sees a libtorrent object.

A session listens from its first moment, speaks only to whom its network allows, and is closed within a bounded time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import libtorrent as lt

from weightshare.errors import WeightshareError
from weightshare.limits import Effective
from weightshare.manifest.magnet import Magnet
from weightshare.swarm.alerts import translate
from weightshare.swarm.capping import Capping, Given
from weightshare.swarm.events import Event, HungUp, ReachedOurselves
from weightshare.swarm.kept import NOTHING, Kept
from weightshare.swarm.listening import await_listening
from weightshare.swarm.metadata import bare, loaded, to_fetch
from weightshare.swarm.networks import Network, allowed_trackers, allowed_web_seeds
from weightshare.swarm.request_queue import CROWD, Look, Pace
from weightshare.swarm.round_trips import round_trips
from weightshare.swarm.sealing import SEALED, Seal, repeated
from weightshare.swarm.settings import SKIP_V1_HASHES, address_filter, session_settings
from weightshare.swarm.torrent import ALL_WAYS, Peer, Torrent, closed_ways, real_files
from weightshare.swarm.transport import Carrier

_RETIRED: list[lt.session] = []  # see `Session.close`
_ANSWER_WAIT = 2.0
_GATHER = 0.03
_LOOK_EVERY = 1.0
_EARLY_LOOKS = (10.0, 0.2)  # for so long after the start, so often: a crowd forms within its first second
_ASSUMED_ROUND_TRIP = {Network.PUBLIC: 0.1, Network.LAN: 0.001}
_OWN_FLAGS = lt.torrent_flags.auto_managed | lt.torrent_flags.paused


class Session:
    """An engine session, used as a context manager.

    Args:
        network: how far it may reach.
        port: where to listen; None for the network's default.
        limits: what it may use from its first moment on; `limit` changes that.
        dht_nodes: by which to enter the DHT, where the network has one; none for the public ones.
        serving: whether it is there to serve; one that fetches serves nobody unless there is a crowd.
        sealed: speak to these alone (`sealing.check_allowed`) and tell nobody anything, until `unseal`; None for all
            that the network allows.

    Raises:
        ListenError: nothing can be listened on.
    """

    def __init__(
        self,
        *,
        network: Network,
        port: int | None = None,
        limits: Effective | None = None,
        dht_nodes: Sequence[Peer] = (),
        serving: bool = False,
        sealed: Sequence[str] | None = None,
    ) -> None:
        self.network = network
        self.limits = limits or Effective()
        self._capping = Capping(session_settings(network, port=port, dht_nodes=dht_nodes))
        quiet = SEALED if sealed is not None else {}
        self._session = lt.session(
            cast("Any", self._capping.settings | self._capping.of(self.limits) | quiet)
        )
        self._chores: list[Callable[[], None]] = []
        self._seal = Seal(self._session, network, sealed) if sealed is not None else None
        rules = address_filter(network)
        if rules is not None and self._seal is None:
            self._session.set_ip_filter(rules)
        self._torrents: dict[str, Torrent] = {}
        self._pace = self._new_pace(serving)
        self._began = self._looked = self._gathered = time.monotonic()
        self._shared = False  # our address, with somebody else on this machine, for all we know
        self._early = await_listening(self._session, port)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._session.listen_port())

    @property
    def max_down(self) -> int:
        """The cap on what comes in, bytes a second; 0 for none."""
        return self.limits.max_down

    def limit(self, limits: Effective) -> None:
        """Have other limits hold from now on: rates and connections within a second, an end of uploads likewise."""
        changed = self._capping.changed(limits)
        self.limits = limits
        if changed:
            self._session.apply_settings(cast("Any", changed))

    def share_down(self, others: int) -> None:
        """Leave so much of the cap on what comes in to what comes past the engine; bytes a second."""
        self._capping.others = others
        self.limit(self.limits)

    def attend(self, chore: Callable[[], None]) -> None:
        """Have this called whenever `events` is asked for, so several times a second while anything goes on."""
        self._chores.append(chore)

    @property
    def sealed(self) -> bool:
        """Whether it speaks to those on a list alone."""
        return self._seal is not None

    def allow(self, allowed: Sequence[str]) -> None:
        """Have another list of those who may be spoken to hold, for a session that is sealed."""
        if self._seal is not None:
            self._seal.allow(allowed)

    def unseal(self, trackers: Sequence[str] = (), web_seeds: Sequence[str] = ()) -> None:
        """Open a sealed session to all that its network allows, and have its torrents announced.

        Args:
            trackers: of every torrent in it.
            web_seeds: likewise.
        """
        if self._seal is None:
            return
        self._seal.lift(self._capping.settings)
        self._seal = None
        for torrent in self._torrents.values():
            torrent.unseal(trackers, web_seeds)
        self.attend(repeated(self._announce))

    def _announce(self) -> None:
        for torrent in self._torrents.values():
            torrent.announce()

    def given(self) -> dict[str, Given]:
        """File bytes given by this session, by release; torrents that were removed are counted in."""
        self._capping.count(self._session.get_torrents())
        return self._capping.given()

    def rest(self, releases: Collection[str]) -> None:
        """Take no part in the swarms of these releases, and in those of all others."""
        self._capping.rest(self._session.get_torrents(), releases)

    def add_magnet(
        self,
        magnet: Magnet,
        folder: Path,
        peers: Sequence[Peer] = (),
        *,
        alone: Peer | None = None,
        avoid: Collection[Peer] = (),
    ) -> Torrent:
        """Add a torrent of which only the hash is known, wanting nothing but its metadata.

        Args:
            magnet: names it, its trackers and peers.
            folder: where its files would go.
            peers: dialled, beside the magnet's.
            alone: dial this peer and nobody else, and ask nobody for others; `Torrent.open_up` ends that.
            avoid: these are not dialled.
        """
        params = lt.parse_magnet_uri(str(bare(magnet)))
        params.flags |= lt.torrent_flags.default_dont_download
        if alone is not None:
            params.flags |= ALL_WAYS
            return self._attended(Torrent(self._add(params, folder), self.network, [alone]))
        params.trackers = [] if self.sealed else list(allowed_trackers(self.network, magnet.trackers))
        others = [peer for peer in (*magnet.peers, *peers) if peer not in avoid]
        return self._attended(Torrent(self._add(params, folder), self.network, others))

    def add_info(
        self,
        info: bytes,
        folder: Path,
        *,
        wanted: Collection[int] = (),
        kept: Kept = NOTHING,
        fresh: bool = False,
        peers: Sequence[Peer] = (),
        layers: Mapping[bytes, bytes] | None = None,
        only: Collection[int] | None = None,
    ) -> Torrent:
        """Add a torrent whose info dictionary is known.

        Args:
            info: the raw info dictionary.
            folder: where its files go.
            wanted: the files to ask for, by their place in the file tree. A connection that at first wants nothing
                leaves its slow start and then crawls for a second, so say it here and not later.
            kept: what is on the disk; nothing else is looked for.
            fresh: nothing of these files is on the disk yet. What is there can be told by a hybrid's v1 hashes, while
                the hashes of v2 pieces are not known before their file is on its way.
            peers: dialled.
            layers: piece layers by pieces root, as far as they are known; these need not be asked for then.
            only: the pieces of those files to ask for at first, None for all.
        """

        def add(kept: Kept) -> lt.torrent_handle:
            params = to_fetch(info, layers or {}, wanted, kept, only)
            if kept.v2_alone or (fresh and self.network is not Network.PUBLIC):
                params.flags |= SKIP_V1_HASHES
            return self._add(params, folder)

        return self._attended(Torrent(add(kept), self.network, peers, add=add, kept=kept))

    def again(self, torrent: Carrier, kept: Kept) -> None:
        """Take a torrent up anew, after its files were found to hold something else; `Checked` says when.

        The engine can be told of a piece that it does not have after all in no other way, short of reading all files
        again. Events that nobody has heard yet are lost.
        """
        torrent.count_up()
        self.remove(torrent)
        torrent.restart(kept)

    def add_seed(
        self,
        torrent: bytes,
        locations: Mapping[int, Path],
        *,
        trackers: Iterable[str] = (),
        web_seeds: Iterable[str] = (),
        peers: Sequence[Peer] = (),
        release: str = "",
    ) -> Torrent:
        """Serve files that are already proven, from where they lie, opened for reading only.

        Args:
            torrent: the whole `.torrent`, piece layers included.
            locations: where each file lies, by its place in the file tree.
            trackers: announced to as far as the network allows.
            web_seeds: likewise.
            peers: dialled.
            release: the v2 info-hash in hex that it counts for, where the torrent has none: a v1 twin.
        """
        params, layout = loaded(torrent)
        indices = list(real_files(layout))
        params.renamed_files = {indices[position]: str(path) for position, path in locations.items()}
        params.trackers = [] if self.sealed else list(allowed_trackers(self.network, trackers))
        params.url_seeds = [] if self.sealed else list(allowed_web_seeds(self.network, web_seeds))
        # The files are proven. Resume data that says so spares a second hashing at each piece's first upload, which
        # seed_mode would do. upload_mode: whatever happens, the engine never asks to write.
        params.have_pieces = [True] * layout.num_pieces()
        params.flags |= lt.torrent_flags.upload_mode
        some_folder = next(iter(locations.values())).parent
        handle = self._add(params, some_folder)
        self._capping.serves(handle, sum(layout.file_size(index) for index in indices), release)
        return self._attended(Torrent(handle, self.network, peers))

    def peers_of(self, torrent: Carrier) -> list[Peer]:
        """The connected peers by the addresses they listen on, so that they can be dialled; a few who hide it left out.

        The engine tells the listening port of a peer that dialled us in resume data only.
        """
        if not isinstance(torrent, Torrent):
            return torrent.dialled()
        torrent.save_resume()
        deadline = time.monotonic() + _ANSWER_WAIT
        while time.monotonic() < deadline:
            self._session.wait_for_alert(100)
            for alert in self._session.pop_alerts():
                if isinstance(alert, lt.save_resume_data_alert) and alert.handle == torrent._handle:
                    listening = [(str(host), int(port)) for host, port in alert.params.peers]
                    return torrent.connected_of(listening)
                if isinstance(alert, lt.save_resume_data_failed_alert):
                    return torrent.dialled()
        return torrent.dialled()

    def remove(self, torrent: Carrier) -> None:
        """Forget a torrent, if it is still there; its files stay. Returns once the engine has let go of them."""
        if not isinstance(torrent, Torrent) or not torrent._handle.is_valid():
            return
        if torrent._handle in self._session.get_torrents():
            self._capping.gone(torrent._handle)
        self._session.remove_torrent(torrent._handle)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self._session.wait_for_alert(100)
            if any(isinstance(alert, lt.torrent_removed_alert) for alert in self._session.pop_alerts()):
                return

    def events(self, timeout: float) -> list[Event]:
        """What happened, waiting at most `timeout` seconds for something to."""
        for chore in self._chores:
            chore()
        if self._seal is not None:
            self._seal.look()
        if self._early:
            early, self._early = self._early, []
            return early
        self._look()
        # At a thousand alerts a second each would be a turn of the caller's loop: let a few gather.
        time.sleep(max(0.0, self._gathered + min(timeout, _GATHER) - time.monotonic()))
        self._session.wait_for_alert(max(1, int(timeout * 1000)))
        self._gathered = time.monotonic()
        alerts = self._session.pop_alerts()
        for alert in alerts:
            if isinstance(alert, lt.session_stats_alert):
                self._follow(alert.values)
        events = translate(alerts)
        for event in events:
            if isinstance(event, HungUp) and event.key in self._torrents:
                self._torrents[event.key].hung_up((event.address, event.port))
            if isinstance(event, ReachedOurselves) and not self._shared:
                # The engine bans that address, port or no port, while it takes an address for one peer.
                self._shared = True
                self._session.apply_settings({"allow_multiple_connections_per_ip": True})
        return events

    def setting(self, name: str) -> object:
        """What the engine runs with just now, by libtorrent's name."""
        return dict(self._session.get_settings())[name]

    def close(self) -> None:
        """End the session: no peers, no port, a word to the trackers.

        The engine's own end is waited for by its destructor, which holds the interpreter and, once in a few hundred
        times, never comes back. So a session is put aside here and taken apart when the next one is put aside; the
        command line ends without it.
        """
        self._session.pause()
        self._session.apply_settings({"stop_tracker_timeout": 1, "listen_interfaces": ""})
        _RETIRED[:] = [self._session]
        del self._session

    def _add(self, params: lt.add_torrent_params, folder: Path) -> lt.torrent_handle:
        params.save_path = str(folder)
        params.flags &= ~_OWN_FLAGS
        params.flags |= lt.torrent_flags.apply_ip_filter
        params.flags |= ALL_WAYS if self.sealed else closed_ways(self.network)
        try:
            return self._session.add_torrent(params)
        except RuntimeError as error:
            raise WeightshareError(f"The torrent engine refused the torrent: {error}.") from error

    def _attended(self, torrent: Torrent) -> Torrent:
        """The torrent, from now on told of what concerns it alone."""
        torrent.sealed = self.sealed
        self._torrents[torrent.key] = torrent
        return torrent

    def _new_pace(self, serving: bool) -> Pace | None:
        assumed = _ASSUMED_ROUND_TRIP.get(self.network)
        if assumed is None:  # this machine alone: the path is known
            return None
        pace = Pace(expected=1 if serving else CROWD, round_trip=assumed)
        self._session.apply_settings({"max_allowed_in_request_queue": pace.depth()})
        self._depth = pace.depth()
        return pace

    def _look(self) -> None:
        """Ask for the engine's counters when it is time; they come as an alert."""
        now = time.monotonic()
        early, often = _EARLY_LOOKS
        if self._pace is not None and now - self._looked >= (
            often if now - self._began < early else _LOOK_EVERY
        ):
            self._looked = now
            self._session.post_session_stats()

    def _follow(self, counters: Mapping[str, int]) -> None:
        """Let those who connect next queue as many requests as the path takes."""
        if self._pace is None:
            return
        look = Look(
            time.monotonic(),
            counters["net.sent_payload_bytes"],
            counters["peer.num_peers_connected"],
            counters["peer.num_peers_up_interested"],
            counters["peer.num_peers_down_interested"],
        )
        depth = self._pace.see(look, round_trips() if look.connected else ())
        if depth != self._depth:
            self._depth = depth
            self._session.apply_settings({"max_allowed_in_request_queue": depth})
