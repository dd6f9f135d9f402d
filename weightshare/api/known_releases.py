"""The releases whose files are worth looking for: those of the store, and those that the user names.

A release counts as known once its manifest is verified; one that is not believed is left out, with a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from weightshare.api.documents import naming, read_document
from weightshare.api.offering import locate
from weightshare.api.sources import is_of
from weightshare.api.trusting import Trustee
from weightshare.content.receipts import load_receipts
from weightshare.content.store import Record, Store
from weightshare.errors import (
    IntegrityError,
    ReleaseNotFoundError,
    UnsignedError,
    UsageError,
    WeightshareError,
)
from weightshare.manifest.metainfo import Info, Torrent, parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust import gate
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import MAX_ENVELOPE, MAX_TORRENT

_HINT = "Give the release's .torrent, its manifest, or a folder that holds it."


@dataclass(frozen=True, slots=True)
class Known:
    """A release whose manifest is verified.

    Attributes:
        verified: the manifest.
        info: its info dictionary, where that is here.
        torrent: its `.torrent` with piece layers, where one is here.
        trackers: where to announce.
        web_seeds: BEP 19 URLs.
        place: where the store has it whole, every file as it was when it was proven; None if it has not.
    """

    verified: VerifiedManifest
    info: Info | None = None
    torrent: bytes | None = None
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    place: Path | None = None


def releases_here(store: Store, trustee: Trustee, notes: list[str]) -> Iterator[Known]:
    """The releases of the store, whole or only begun, each once.

    Args:
        store: the releases on this machine.
        trustee: whom to believe.
        notes: gets a line for each that is not believed.

    Raises:
        StoreError: a record is damaged.
    """
    by_hash: dict[str, list[Record]] = {}
    for record in store.records():
        by_hash.setdefault(record.info_hash_v2 or record.info_hash_v1 or record.release, []).append(record)
    for name, records in by_hash.items():
        try:
            located = locate(store, trustee, name)
            known = _recorded(store, records, located.verified)
        except WeightshareError as error:  # not believed, or damaged; the others are none the worse
            notes.append(f"{records[-1].release}: {error.message}")
            continue
        yield known


def release_named(source: str, store: Store, trustee: Trustee) -> Known:
    """A release that the user names, by what is on this disk.

    Args:
        source: a `.torrent`, a manifest or a folder that holds a signed release.
        store: the releases on this machine.
        trustee: whom to believe.

    Raises:
        UsageError, ReleaseNotFoundError: it names none.
        UnsignedError: a torrent without its manifest beside it.
        TrustError, IntegrityError: it cannot be believed.
    """
    if source.lower().startswith(("magnet:", "http:", "https:")):
        raise UsageError(
            "scan asks nobody: it takes no links.",
            hint=f"{_HINT} `weightshare fetch --dry-run` says what a link names is here already.",
        )
    path = Path(source).expanduser()
    if path.is_dir():
        located = locate(store, trustee, str(path))
        if located.record is None:
            return Known(located.verified)
        return _recorded(store, [located.record], located.verified)
    if not path.is_file():
        raise ReleaseNotFoundError(f"There is no file {source!r}.", hint=_HINT, release=source)
    data = read_document(path, MAX_TORRENT, hint=_HINT)
    if data[:1] == b"{":
        return _believed(data, _torrent_beside(path, data), store, trustee)
    with naming(path):
        torrent = parse_torrent(data)
    return _believed(_manifest_beside(path, torrent), torrent, store, trustee)


def _believed(envelope: bytes, torrent: Torrent | None, store: Store, trustee: Trustee) -> Known:
    decision = trustee.decide(envelope)
    verified = decision.verified
    gate.check_revoked(verified, trustee.releases_of(store, verified.fingerprint))
    if torrent is None:
        trustee.remember(decision)
        return Known(verified)
    gate.match(torrent.info, verified)
    trustee.remember(decision)
    return Known(verified, torrent.info, torrent.raw, tuple(torrent.trackers), tuple(torrent.web_seeds))


def _torrent_beside(path: Path, envelope: bytes) -> Torrent | None:
    for torrent in sorted(path.parent.glob("*.torrent")):
        if torrent.is_file() and torrent.stat().st_size <= MAX_TORRENT and is_of(torrent, envelope):
            return parse_torrent(torrent.read_bytes())
    return None


def _manifest_beside(path: Path, torrent: Torrent) -> bytes:
    """The signed manifest that a torrent carries, from a file beside it: `publish --out` puts it there."""
    from weightshare.manifest.merkle import file_root_from_leaves, leaves_of

    wanted = next((file for file in torrent.info.files if file.path == MANIFEST_NAME), None)
    beside = sorted(path.parent.glob("*.json")) if wanted is not None else []
    for place in beside:
        if wanted is None or not place.is_file() or place.stat().st_size != wanted.size:
            continue
        if wanted.size <= MAX_ENVELOPE:
            data = place.read_bytes()
            if file_root_from_leaves(leaves_of(data)) == wanted.pieces_root:
                return data
    raise UnsignedError(
        f"{path} is without its {MANIFEST_NAME}, and only that says which files to believe.",
        hint="Put the manifest beside it: the publisher posts both, and each release carries its own.",
    )


def _recorded(store: Store, records: Sequence[Record], verified: VerifiedManifest) -> Known:
    """What the store knows of a release that it may have in several places, or have begun."""
    whole = [record for record in records if record.complete and _holds(store, record, verified)]
    best = (whole or records)[-1]
    raw = next((raw for record in records if (raw := store.torrent(record)) is not None), None)
    info = None
    if raw is not None:
        info = parse_torrent(raw).info
    else:
        with suppress(OSError, IntegrityError):  # none was fetched yet, or none was made for this manifest
            info = gate.check_info(
                (store.folder(best) / "info").read_bytes(), bytes.fromhex(best.info_hash_v2)
            )
    if info is not None:
        gate.match(info, verified)
    return Known(verified, info, raw, best.trackers, best.web_seeds, whole[-1].path if whole else None)


def _holds(store: Store, record: Record, verified: VerifiedManifest) -> bool:
    receipts = load_receipts(store.folder(record) / "receipts.json")
    return all(
        entry.path in receipts and receipts[entry.path].still_holds(record.path / entry.path)
        for entry in verified.manifest.files
    )
