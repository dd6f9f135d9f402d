"""`fetch --unsigned`: a torrent that nobody signed, into a store of its own, with the digests of what arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.old.swarming import OldSwarm, Reach, old_swarm
from weightshare.api.old.targets import OldTarget, resolve_old
from weightshare.api.own_files import make
from weightshare.api.results.old import UNSIGNED, Unsigned
from weightshare.content.hashing import FileHashes, hash_files
from weightshare.content.home import Home
from weightshare.content.naming import put_in_place
from weightshare.content.staging import clear_leftover, clear_staging, staging_lock
from weightshare.content.unsigned_store import ArrivedFile, UnsignedRecord, UnsignedStore
from weightshare.errors import CorruptError, FileInTheWayError, IntegrityError, PickleError, UsageError
from weightshare.files import sync_file
from weightshare.manifest.info import TreeFile
from weightshare.manifest.kinds import is_code, is_pickle
from weightshare.manifest.metainfo import HashedFile, build_torrent, default_piece_length, parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.plain import Plain, build_plain_torrent, check_named, read_plain_torrent
from weightshare.manifest.text import quoted
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.units import BLOCK

_NAMED = 10


def _unmentioned(_: Plain) -> None:
    """Nobody is told."""


def fetch_unsigned(
    source: str,
    directory: str | Path | None = None,
    *,
    home: Home | None = None,
    allow_pickle: bool = False,
    force: bool = False,
    reach: Reach | None = None,
    on_found: Callable[[Plain], None] = _unmentioned,
    observe: Observer = ignore,
) -> Unsigned:
    """Fetch a torrent that nobody signed. It never becomes a release: nothing of it can be proven.

    Args:
        source: a magnet link, an info-hash, or a `.torrent` by path or URL, of whatever version.
        directory: the folder the files land in; None chooses one in `home`.
        home: where it is recorded.
        allow_pickle: accept files that run code when loaded.
        force: replace files that stand in the way.
        reach: how the swarm may be reached.
        on_found: told what it holds before any file is asked for.
        observe: told how it goes.

    Raises:
        UsageError: it is signed after all, or is here already in another folder.
        MetainfoError, UnsafePathError, PickleError: it is not taken; nothing was kept.
        NetworkError: too little came in time; resumable.
        StoreError: the disk or another process stands in the way; resumable.
    """
    began = time.monotonic()
    home, reach = home or Home.default(), reach or Reach()
    store = UnsignedStore(home)
    target = resolve_old(source, Network(reach.network))
    folder = Path(directory).expanduser().absolute() if directory is not None else None
    observe = _marked(observe)
    target = _remembered(store, target)
    with ExitStack() as stack:
        swarm = None
        if target.torrent is not None:
            plain = target.torrent.plain
        else:
            swarm = stack.enter_context(old_swarm(home, target, reach, observe))
            plain = swarm.metadata(stack.enter_context(home.scratch()))
        warnings = (UNSIGNED, *target.notes, *_judge(plain, allow_pickle=allow_pickle))
        on_found(plain)
        stack.enter_context(store.lock(plain.info_hash))
        record, received = _record(store, plain, target, folder), 0
        if record.complete:
            if record.staging.exists():
                _put_in_place(record, force=force)
            clear_leftover(record.staging)
            _still_there(record)
        else:
            if swarm is None:
                swarm = stack.enter_context(old_swarm(home, target, reach, observe))
                swarm.metadata(home.path)
            record, received = _bring(store, swarm, plain, record, observe, force=force)
    return Unsigned(
        name=record.name,
        info_hash=record.info_hash,
        path=record.path,
        bytes=record.bytes,
        sha256={file.path: file.sha256 for file in record.files},
        received=received,
        seconds=time.monotonic() - began,
        sums=store.folder(record.info_hash) / "SHA256SUMS",
        warnings=warnings,
    )


def _remembered(store: UnsignedStore, target: OldTarget) -> OldTarget:
    """The target with its `.torrent`, where an earlier fetch has kept it: then the swarm need not be asked for it."""
    for info_hash in (target.magnet.v2_hash, target.magnet.v1_hash):
        record = store.get(info_hash.hex()) if target.torrent is None and info_hash is not None else None
        kept = store.torrent(record) if record is not None else None
        if kept is not None:
            with suppress(IntegrityError):  # a damaged one comes again
                torrent = read_plain_torrent(kept)
                check_named(torrent.plain, target.magnet)
                return replace(target, torrent=torrent)
    return target


def _marked(observe: Observer) -> Observer:
    """The observer, told in every report that nobody signed what comes."""
    return lambda seen: observe(replace(seen, note=f"{seen.note}; unsigned" if seen.note else "unsigned"))


def digests(folder: Path, plain: Plain, observe: Observer) -> list[FileHashes]:
    """The digests of a torrent's files where they lie, in its order.

    Raises:
        CheckpointError, DiskError: one is gone, was cut, changes meanwhile, or cannot be read.
    """
    places = [(folder / file.path, file.size) for file in plain.files]
    return hash_files(places, _piece_length(plain), hybrid=False, observe=observe)


def _judge(plain: Plain, *, allow_pickle: bool) -> tuple[str, ...]:
    """Hold what the torrent lists against what the user allows; returns warnings.

    Raises:
        UsageError: it can be proven, and then has to be.
        PickleError: it holds pickles, which were not allowed.
    """
    if plain.signed:
        raise UsageError(
            f"The torrent {plain.name!r} carries a {MANIFEST_NAME}: it is signed.",
            hint="Fetch it without --unsigned, and it is proven.",
        )
    pickles = [file.path for file in plain.files if is_pickle(file.path)]
    if pickles and not allow_pickle:
        raise PickleError(
            f"{plain.name} holds {_some(pickles)}, which can run code when loaded, and nobody signed it.",
            hint="Add --allow-pickle to have the files all the same; weightshare does not load them.",
            paths=pickles,
        )
    code = [file.path for file in plain.files if is_code(file.path)]
    return (f"It carries code, which weightshare never runs: {_some(code)}.",) if code else ()


def _record(store: UnsignedStore, plain: Plain, target: OldTarget, folder: Path | None) -> UnsignedRecord:
    known = store.get(plain.info_hash)
    if known is not None:
        if folder is not None and folder != known.path:
            raise UsageError(
                f"{plain.name} is here already, in {known.path}.",
                hint=f"Use it there, or take it away first: weightshare rm {plain.info_hash[:12]}",
            )
        return known
    return UnsignedRecord(
        info_hash=plain.info_hash,
        name=plain.name,
        path=folder or store.files(plain.info_hash),
        bytes=plain.size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        trackers=target.magnet.trackers,
        web_seeds=target.magnet.web_seeds,
    )


def _bring(
    store: UnsignedStore,
    swarm: OldSwarm,
    plain: Plain,
    record: UnsignedRecord,
    observe: Observer,
    *,
    force: bool,
) -> tuple[UnsignedRecord, int]:
    with staging_lock(record.staging, f"{record.name} in {record.path}"):
        _check_way(record, [file.path for file in plain.files], force=force)
        store.keep(record, torrent=_torrent(plain, record, ()) if plain.v2_hash is None else None)
        wanted = [position for position, file in enumerate(plain.files) if file.size]
        received = swarm.bring(plain, record.staging, wanted)
        for file in plain.files:
            if not file.size:
                make((record.staging / file.path).parent)
                (record.staging / file.path).touch()
            else:
                sync_file(record.staging / file.path)
        found = digests(record.staging, plain, observe)
        done = record.finished(
            [ArrivedFile(f.path, f.size, h.sha256.hex()) for f, h in zip(plain.files, found, strict=True)]
        )
        store.keep(done, torrent=_torrent(plain, record, found))
    _put_in_place(done, force=force)
    return done, received


def _put_in_place(record: UnsignedRecord, *, force: bool) -> None:
    """Give the files that are staged their names. All have arrived; a run that is killed at it leaves some to the next.

    Raises:
        FileInTheWayError: another file has come there meanwhile.
        DiskError, StoreLockedError: the disk or another process stands in the way.
    """
    with staging_lock(record.staging, f"{record.name} in {record.path}"):
        staged = [file for file in record.files if (record.staging / file.path).exists()]
        _check_way(record, [file.path for file in staged], force=force)
        put_in_place(
            [(TreeFile(file.path, file.size, None), record.staging / file.path) for file in staged],
            record.path,
        )
        clear_staging(record.staging)


def _check_way(record: UnsignedRecord, paths: Sequence[str], *, force: bool) -> None:
    in_the_way = [path for path in paths if (record.path / path).exists()]
    if in_the_way and not force:
        raise FileInTheWayError(
            f"Files stand where it must land, in {record.path}: {', '.join(in_the_way[:_NAMED])}.",
            hint="Choose another folder, move them away, or replace them with --force.",
            path=str(record.path),
            paths=in_the_way,
        )


def _still_there(record: UnsignedRecord) -> None:
    """A look at the files, not a proof: `verify` hashes them.

    Raises:
        CorruptError: one is gone or was cut.
    """
    for file in record.files:
        place = record.path / file.path
        if not place.is_file() or place.stat().st_size != file.size:
            raise CorruptError(
                f"{place} is not what arrived: {file.size:,} bytes are expected.",
                hint=f"Take it away and fetch it again: weightshare rm {record.info_hash[:12]}",
                path=file.path,
                pieces=[],
            )


def _torrent(plain: Plain, record: UnsignedRecord, found: Sequence[FileHashes]) -> bytes:
    if plain.v2_hash is None:
        return build_plain_torrent(plain.raw, trackers=record.trackers, web_seeds=record.web_seeds)
    hashed = [
        HashedFile(file.path, file.size, one.pieces_root, one.piece_layer)
        for file, one in zip(plain.files, found, strict=True)
    ]
    return build_torrent(plain.raw, hashed, trackers=record.trackers, web_seeds=record.web_seeds)


def _piece_length(plain: Plain) -> int:
    if plain.v2_hash is not None:
        return parse_info(plain.raw).piece_length
    return usable_piece_length(plain)


def usable_piece_length(plain: Plain) -> int:
    """The torrent's own where a v2 tree could have it, else one by its size."""
    length = plain.v1.piece_length if plain.v1 is not None else 0
    if length >= BLOCK and not length & (length - 1):
        return length
    return default_piece_length(file.size for file in plain.files)


def _some(paths: list[str]) -> str:
    named = ", ".join(quoted(path) for path in paths[:_NAMED])
    return named if len(paths) <= _NAMED else f"{named} and {len(paths) - _NAMED} more"
