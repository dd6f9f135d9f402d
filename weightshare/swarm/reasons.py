"""Why a fetch waits: what was seen of it, the reason a person understands, and the error when patience ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weightshare.errors import (
    MetadataTimeoutError,
    NetworkError,
    NoPeersError,
    NoSpaceError,
    StalledError,
    StoreError,
)
from weightshare.units import MAX_INFO, format_duration, format_rate, format_size

_RESUMES = "What arrived is kept: the same command resumes."
_CAPPED = 0.8  # of the cap: headers and the swing of a few seconds' rate take the rest


class Reason(StrEnum):
    """What a fetch can wait for. The values are names for programs; `describe` makes sentences."""

    NO_TRACKER = "no_tracker"
    NO_PEERS = "no_peers"
    NO_METADATA = "no_metadata"
    CHOKED = "choked"
    PIECE_MISSING = "piece_missing"
    DISK_FULL = "disk_full"
    CAPPED = "capped"
    SILENT = "silent"
    SERVERS_WAIT = "servers_wait"


class Aim(StrEnum):
    """What is waited for."""

    METADATA = "metadata"
    MANIFEST = "manifest"
    PIECES = "pieces"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A disk that filled up. Sizes in bytes.

    Attributes:
        path: the file that could not be written.
        needed: what is still to be written.
        free: what the file system has free. It may be enough where a quota is the limit.
    """

    path: str
    needed: int
    free: int

    @property
    def missing(self) -> int:
        """How much space must be made, 0 if that cannot be told from the file system."""
        return max(0, self.needed - self.free)


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a fetch. Sizes in bytes.

    Attributes:
        now: seconds on a clock that never goes back.
        done: bytes here.
        total: bytes wanted, None while unknown.
        peers: connected peers.
        seeds: those of them that have everything.
        choking: those of them that have what is wanted and let us have nothing.
        useful: those of them that have what is wanted.
        missing: a piece that is wanted and that nobody connected has; None if there is none, or it is unknown.
        availability: distributed copies of what is wanted, between this fetch and its peers; None while unknown.
        liars: peers that gave false metadata and are spoken to no more.
        trackers: trackers that were asked.
        answered: whether any of them ever answered.
        trouble: the last tracker's words when it said no, or why it could not be reached.
        cap: the download cap in bytes a second, 0 for none.
        held_back: peers that would send and must wait for the cap.
        full: set while the disk has no room.
        servers: how the servers beside the swarm stand, in words; empty where none are asked.
        told_to_wait: whether all of these asked us to wait.
    """

    now: float
    done: int = 0
    total: int | None = None
    peers: int = 0
    seeds: int = 0
    choking: int = 0
    useful: int = 0
    missing: int | None = None
    availability: float | None = None
    liars: int = 0
    trackers: int = 0
    answered: bool = False
    trouble: str = ""
    cap: int = 0
    held_back: int = 0
    full: Shortage | None = None
    servers: str = ""
    told_to_wait: bool = False


def reason_for(seen: Observation, aim: Aim) -> Reason:
    """Why nothing moves, by what is nearest to the cause."""
    if seen.full is not None:
        return Reason.DISK_FULL
    if seen.told_to_wait:
        return Reason.SERVERS_WAIT
    if seen.peers == 0:
        unheard = seen.trackers and not seen.answered and seen.trouble
        return Reason.NO_TRACKER if unheard else Reason.NO_PEERS
    if aim is Aim.METADATA:
        return Reason.NO_METADATA
    if seen.held_back:
        return Reason.CAPPED
    if seen.missing is not None and not seen.seeds:
        return Reason.PIECE_MISSING
    if seen.useful and seen.choking >= seen.useful:
        return Reason.CHOKED
    return Reason.SILENT


def is_capped(seen: Observation, rate: float) -> bool:
    """Whether the cap is what limits a transfer that moves at this rate."""
    return bool(seen.cap) and rate >= _CAPPED * seen.cap


def describe(reason: Reason, seen: Observation) -> str:
    """The reason in words, for the line that shows progress; never empty."""
    why = _describe(reason, seen)
    return f"{why}; {seen.servers}" if seen.servers and reason is not Reason.DISK_FULL else why


def helped(seen: Observation) -> str:
    """What is said of a transfer that moves: who helps it, if anybody does."""
    return f"no peers; {seen.servers}" if seen.servers and not seen.peers else seen.servers


def _describe(reason: Reason, seen: Observation) -> str:
    match reason:
        case Reason.DISK_FULL:
            return _full(seen)
        case Reason.NO_TRACKER:
            return f"no peers: no tracker answers ({seen.trouble})"
        case Reason.NO_PEERS:
            lied = f"no peers but {seen.liars} with false metadata" if seen.liars else "no peers"
            return f"{lied} ({seen.trouble})" if seen.trouble else lied
        case Reason.NO_METADATA:
            lied = f"; {seen.liars} gave false ones" if seen.liars else ""
            return f"peers, but none has sent the metadata{lied}"
        case Reason.CAPPED:
            return f"capped by you at {format_rate(seen.cap)}" if seen.cap else "capped by you"
        case Reason.PIECE_MISSING:
            copies = "" if seen.availability is None else f" (availability {_two_places(seen.availability)})"
            return f"nobody has piece {seen.missing}{copies}"
        case Reason.CHOKED:
            return "choked by all peers: they have it and serve others first"
        case Reason.SILENT:
            return "peers send nothing"
        case Reason.SERVERS_WAIT:
            return "no peers" if not seen.peers else "peers send nothing"


def give_up(reason: Reason, seen: Observation, aim: Aim, waited: float) -> NetworkError | StoreError:
    """The error that ends a wait of so many seconds."""
    span = format_duration(waited)
    if reason is Reason.DISK_FULL and seen.full is not None:
        return NoSpaceError(
            f"Waited {span} for space: {_full(seen)}; {_so_far(seen)} are here.",
            hint=f"Make space. {_RESUMES}",
            path=seen.full.path,
            needed=seen.full.needed,
            free=seen.full.free,
            reason=reason.value,
        )
    if aim is not Aim.PIECES and seen.peers == 0 and not seen.liars:
        why = describe(reason, seen).removeprefix("no peers").strip(" :")
        why = f" ({why.removeprefix('(').removesuffix(')')})" if why else ""
        return NoPeersError(
            f"No peers in {span}: nobody who has this release could be reached{why}.",
            hint="Ask the publisher whether a seeder is up, give one with --peer HOST:PORT, or wait longer with "
            "--timeout.",
            waited=waited,
            reason=reason.value,
        )
    if aim is Aim.METADATA:
        lied = f" {seen.liars} gave metadata of another hash and were left out." if seen.liars else ""
        return MetadataTimeoutError(
            f"{seen.peers + seen.liars} peer(s), but none sent the torrent's metadata in {span}.{lied}",
            hint="Try again later, give a peer with --peer HOST:PORT, or fetch by the .torrent file or its URL. "
            f"Metadata of more than {format_size(MAX_INFO)} is taken from nobody.",
            waited=waited,
            reason=Reason.NO_METADATA.value,
        )
    if seen.peers == 0:
        return NoPeersError(
            f"{_gone(seen, span)}; {_so_far(seen)} are here.",
            hint=f"{_RESUMES} A seeder's address can be given with --peer HOST:PORT.",
            waited=waited,
            done=seen.done,
            total=seen.total,
            reason=reason.value,
        )
    more = "a higher --max-down" if reason is Reason.CAPPED else "another peer: --peer HOST:PORT"
    return StalledError(
        f"No progress for {span} with {seen.peers} peer(s): {describe(reason, seen)}; {_so_far(seen)} are here.",
        hint=f"{_RESUMES} More patience: --timeout; {more}.",
        waited=waited,
        done=seen.done,
        total=seen.total,
        reason=reason.value,
    )


def _gone(seen: Observation, span: str) -> str:
    if seen.servers:
        return f"Nothing came for {span}: no peers; {seen.servers}"
    return f"The last peer has been gone for {span}"


def _full(seen: Observation) -> str:
    if seen.full is None or not seen.full.missing:
        return "the disk takes no more (is a quota used up?)"
    return f"the disk is full, {format_size(seen.full.missing)} more are needed"


def _two_places(copies: float) -> str:
    """Rounded down: 0.998 copies are not one."""
    return f"{int(copies * 100) / 100:.2f}"


def _so_far(seen: Observation) -> str:
    return f"{format_size(seen.done)} of {format_size(seen.total or 0)}"
