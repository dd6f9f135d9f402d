"""Whether other people's clients can take the torrent as it is: sizes, names, and its v1 half."""

from __future__ import annotations

from collections.abc import Iterator

from weightshare.api.doctoring.checks import Check, fail, ok, warn
from weightshare.api.launching.standing import Standing
from weightshare.errors import IntegrityError
from weightshare.manifest.metainfo import Torrent
from weightshare.swarm.plain_loading import refused_by_default
from weightshare.units import MIB, format_size

_LARGE_INFO = 1 * MIB
_MANY_PIECES = 65_536
_LONG_NAME = 143  # bytes: what eCryptfs leaves of a name, the shortest limit in common use; others have 255
_LONG_PATH = 200  # bytes: with a folder before it, Windows' 260 are near


def checks(standing: Standing) -> Iterator[Check]:
    """The checks of the torrent itself; nothing is asked of anybody."""
    yield loads(standing.raw)
    yield from size_of(standing.torrent)
    yield names_of(standing.torrent)
    yield for_old_clients(standing.torrent, twin=standing.twin)


def loads(raw: bytes) -> Check:
    """Whether libtorrent, with the limits it has by default, loads the `.torrent`."""
    reason = refused_by_default(raw)
    if reason:
        return fail(
            "torrent",
            f"libtorrent refuses the .torrent with its default limits: {reason}",
            "Publish again with a larger --piece-length, or as fewer files.",
            code=IntegrityError.exit_code,
        )
    return ok("torrent", f"loads in libtorrent with its default limits ({format_size(len(raw))})")


def size_of(torrent: Torrent) -> Iterator[Check]:
    """Whether the metadata is small enough to come quickly by a magnet link."""
    info = torrent.info
    pieces = sum(-(-file.size // info.piece_length) for file in info.files)
    said = (
        f"{format_size(len(info.raw))} of metadata, {len(info.files):,} files, "
        f"{pieces:,} pieces of {format_size(info.piece_length)}"
    )
    if len(info.raw) > _LARGE_INFO or pieces > _MANY_PIECES:
        yield warn(
            "metadata",
            said,
            "By a magnet link this takes a while to come. Give the .torrent too (--torrent-url), or publish "
            "with a larger --piece-length.",
        )
    else:
        yield ok("metadata", said)


def names_of(torrent: Torrent) -> Check:
    """Whether every name can be stored where people store things."""
    long = [
        file.path
        for file in torrent.info.files
        if len(file.path.encode()) > _LONG_PATH
        or any(len(part.encode()) > _LONG_NAME for part in file.path.split("/"))
    ]
    if long:
        return warn(
            "names",
            f"{len(long)} of the paths are long, such as {long[0]!r}",
            "Some systems cannot store them; give such files shorter names.",
        )
    return ok("names", "no path is too long for a common file system")


def for_old_clients(torrent: Torrent, *, twin: bool) -> Check:
    """Whether clients that know v1 alone can join."""
    if torrent.info.v1_hash is not None:
        return ok(
            "old clients", "a hybrid: clients of v1 can join" + (", and there is a v1 twin" if twin else "")
        )
    if twin:
        return ok("old clients", "v2 only, with a v1 twin for clients of v1")
    return warn(
        "old clients",
        "v2 only: most clients in use cannot join",
        "Publish without --v2-only, or add --v1-twin and post that .torrent too.",
    )
