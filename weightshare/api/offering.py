"""From a record, or a folder with a signed manifest in it, to something that may be served or loaded.

Nothing is served on a record's word: each file has a receipt that still matches, or is hashed again first.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.drafting import hash_bytes
from weightshare.api.old.naming import refuse_unsigned
from weightshare.api.old.offers import adopted_layers, adopted_offer
from weightshare.api.piece_reuse import load_layers
from weightshare.api.records import new_record
from weightshare.api.trusting import Trustee
from weightshare.content.hashing import hash_files
from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.content.store import Record, Store
from weightshare.content.verifier import FileReport, check_folder
from weightshare.errors import CorruptError, IntegrityError, ReleaseNotFoundError, StoreError, UnsignedError
from weightshare.manifest.metainfo import (
    HashedFile,
    Info,
    build_info,
    build_torrent,
    parse_info,
    parse_torrent,
    v1_paths,
)
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Observer
from weightshare.swarm.offer import Offer
from weightshare.trust import gate
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import MAX_ENVELOPE

_ADVICE = "`weightshare verify` names the pieces; fetching the release again replaces what is bad."


@dataclass(frozen=True, slots=True)
class Located:
    """A release on this disk whose manifest is verified.

    Attributes:
        verified: its manifest.
        folder: where its files lie.
        layers: piece layers by pieces root, authenticated; empty where no `.torrent` is known.
        record: what the store knows of it, None for a folder that the store has never seen.
        locations: where files lie that the folder only links to, as in a Hub cache that was published in place.
        receipts_file: where the store keeps what it remembers of files proven before, if it knows the release.
        parts: where shards lie of which a fetch of some tensors has brought pieces.
    """

    verified: VerifiedManifest
    folder: Path
    layers: Mapping[bytes, bytes]
    record: Record | None
    locations: Mapping[str, Path]
    receipts_file: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)

    @property
    def receipts(self) -> Mapping[str, Receipt]:
        """What the store remembers of files proven before, by release path: a memory, not a proof.

        Raises:
            StoreError: it cannot be read.
        """
        return load_receipts(self.receipts_file) if self.receipts_file is not None else {}

    @property
    def held(self) -> Mapping[str, Path]:
        """Where files really lie, those of which only some pieces are here too."""
        return {**self.parts, **self.locations}


def locate(store: Store, trustee: Trustee, release: str) -> Located:
    """Find a release by name, info-hash or folder, and verify its manifest.

    Raises:
        ReleaseNotFoundError, AmbiguousReleaseError: it is not here, or not the only one.
        UnsignedError: a folder without a signed manifest.
        RevokedError: its publisher has revoked it in another release that is here.
        TrustError, ManifestError: its manifest cannot be believed.
    """
    envelope, folder, record = locate_envelope(store, release)
    decision = trustee.decide(envelope)
    verified = decision.verified
    gate.check_revoked(verified, trustee.releases_of(store, verified.fingerprint))
    trustee.remember(decision)
    return Located(
        verified,
        folder,
        layers_of(store, record),
        record,
        links_of(store, record),
        store.folder(record) / "receipts.json" if record is not None else None,
        parts_of(verified, record),
    )


def locate_envelope(store: Store, release: str) -> tuple[bytes, Path, Record | None]:
    """The signed manifest of a release that is here, unverified, with its folder and record.

    Raises:
        ReleaseNotFoundError, AmbiguousReleaseError: it is not here, or not the only one.
        UnsignedError: a folder without a signed manifest.
    """
    folder = Path(release).expanduser()
    record = None
    if folder.is_dir():
        folder = folder.absolute()
        records = store.at(folder)
        record = records[-1] if records else None
        envelope = _envelope_of(store, folder, record)
        if record is not None and record.kind == "published" and envelope != store.envelope(record):
            record = next((other for other in records if store.envelope(other) == envelope), None)
    else:
        try:
            record = store.find(release)
        except ReleaseNotFoundError:
            if "/" in release and release.count("/") != 1:
                raise ReleaseNotFoundError(
                    f"There is no folder {release!r}.",
                    hint="`weightshare ls` shows what is here.",
                    release=release,
                ) from None
            refuse_unsigned(release, store.home)
            raise
        folder = record.path
        envelope = store.envelope(record)
    return envelope, folder, record


def offer(store: Store, located: Located, observe: Observer) -> tuple[Record, list[Offer]]:
    """What can be served of a release: itself, and its v1 twin if one was published.

    Raises:
        CorruptError: a file is not what was signed.
        StoreError: the release is not whole.
    """
    record = located.record
    if record is not None and not record.complete:
        raise StoreError(
            f"{record.release} is not complete.",
            hint="Run the same `fetch` again to complete it; then it can be served.",
            path=str(record.path),
        )
    if record is None:
        record = take_in(store, located, observe)
    else:
        _prove(store, located, record, observe)
    if record.adopted:
        return record, [adopted_offer(store, record, located.folder, located.locations)]
    torrent = store.torrent(record)
    if torrent is None:
        raise StoreError(
            f"The store lacks the torrent of {record.release}.",
            hint=f"Forget it with `weightshare rm {record.release}` and fetch or publish it again.",
            path=str(store.folder(record)),
        )
    info = parse_torrent(torrent).info
    manifest = _manifest_file(store, located, record)
    locations = {
        position: manifest if file.path == MANIFEST_NAME else located.folder / file.path
        for position, file in enumerate(info.files)
    }
    offers = [Offer(record.release, torrent, locations, record.trackers, record.web_seeds)]
    twin = store.folder(record) / "twin.torrent"
    if twin.exists():
        raw = twin.read_bytes()
        # Its order is another one: what was made after the files were hashed comes last.
        places = {
            position: manifest if path == MANIFEST_NAME else located.folder / path
            for position, path in enumerate(v1_paths(raw))
        }
        name, own = f"{record.release} (v1)", record.info_hash_v2
        offers.append(Offer(name, raw, places, record.trackers, release=own))
    return record, offers


def problems_of(reports: list[FileReport]) -> list[FileReport]:
    """The reports that say something is wrong, extra files not counted: they belong to nobody's release."""
    return [report for report in reports if not report.ok and report.problem != "extra"]


def _prove(store: Store, located: Located, record: Record, observe: Observer) -> None:
    """Make sure of every file: by a receipt that still matches, or by hashing all of them again."""
    path = store.folder(record) / "receipts.json"
    receipts = load_receipts(path)
    entries = located.verified.manifest.files
    if all(
        entry.path in receipts
        and receipts[entry.path].root == (entry.pieces_root.hex() if entry.pieces_root else None)
        and receipts[entry.path].still_holds(located.folder / entry.path)
        for entry in entries
    ):
        return
    reports = check_folder(
        located.folder,
        located.verified,
        layers=located.layers,
        locations=located.locations,
        observe=observe,
        extras=False,
    )
    bad = problems_of(reports)
    if bad:
        raise CorruptError(
            f"{record.release} in {located.folder} is not what was signed: "
            + ", ".join(f"{report.path} ({report.problem})" for report in bad[:10])
            + ". It is not served.",
            hint=_ADVICE,
            path=bad[0].path,
            pieces=list(bad[0].bad_pieces),
            paths=[report.path for report in bad],
        )
    save_receipts(
        path, {entry.path: Receipt.of(located.folder / entry.path, entry.pieces_root) for entry in entries}
    )


def take_in(store: Store, located: Located, observe: Observer, known: Info | None = None) -> Record:
    """Rebuild the torrent of a folder that holds a signed release, from its manifest and its bytes, and record it.

    Args:
        store: where.
        located: the release.
        observe: told how hashing goes.
        known: its info dictionary, where that is here; None makes it as `publish` does.

    Raises:
        CorruptError: a file is missing, or not what was signed.
    """
    verified, folder = located.verified, located.folder
    facts, entries = verified.manifest.torrent, verified.manifest.files
    if facts.adopts is not None:
        raise StoreError(
            f"{verified.release} adopts the torrent {facts.adopts.hex()}, which is not known here.",
            hint="Fetch it by that torrent's link into this folder, with --manifest: what is there is kept.",
            path=str(folder),
        )
    missing = [entry.path for entry in entries if not (folder / entry.path).is_file()]
    if missing:
        raise CorruptError(
            f"{folder} lacks files of {verified.release}: {', '.join(missing[:10])}.",
            hint=_ADVICE,
            path=missing[0],
            pieces=[],
            paths=missing,
        )
    hashes = hash_files(
        [(folder / entry.path, (folder / entry.path).stat().st_size) for entry in entries],
        facts.piece_length,
        hybrid=facts.hybrid,
        observe=observe,
    )
    bad = [
        entry.path
        for entry, found in zip(entries, hashes, strict=True)
        if (found.pieces_root, found.sha256, found.size) != (entry.pieces_root, entry.sha256, entry.size)
    ]
    if bad:
        raise CorruptError(
            f"{verified.release} in {folder} is not what was signed: {', '.join(bad[:10])}. It is not served.",
            hint=_ADVICE,
            path=bad[0],
            pieces=[],
            paths=bad,
        )
    files = [
        HashedFile(e.path, h.size, h.pieces_root, h.piece_layer, h.v1_pieces, h.v1_last_unpadded)
        for e, h in zip(entries, hashes, strict=True)
    ]
    files.append(hash_bytes(MANIFEST_NAME, verified.envelope, facts.piece_length))
    info = known or parse_info(build_info(facts.name, facts.piece_length, files, hybrid=facts.hybrid))
    gate.match(info, verified)
    record = new_record(verified.manifest, verified.fingerprint, folder, info, "published")
    store.keep(record, envelope=verified.envelope, torrent=build_torrent(info.raw, files))
    save_receipts(
        store.folder(record) / "receipts.json",
        {entry.path: Receipt.of(folder / entry.path, entry.pieces_root) for entry in entries},
    )
    return record


def _envelope_of(store: Store, folder: Path, record: Record | None) -> bytes:
    """The signed manifest of a folder: the file in it, or the store's copy where the folder is read-only."""
    path = folder / MANIFEST_NAME
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            return file.read(MAX_ENVELOPE + 1)
    if record is not None:
        return store.envelope(record)
    raise UnsignedError(
        f"{folder} holds no {MANIFEST_NAME}, so nobody has signed for it.",
        hint="Publish it yourself with `weightshare publish`, or fetch a signed release.",
    )


def _manifest_file(store: Store, located: Located, record: Record) -> Path:
    """A file that holds the manifest's very bytes: in the release's folder, or in the store."""
    beside = located.folder / MANIFEST_NAME
    if beside.is_file() and beside.read_bytes() == located.verified.envelope:
        return beside
    return store.folder(record) / MANIFEST_NAME


def links_of(store: Store, record: Record | None) -> dict[str, Path]:
    """The links that were followed when the folder was published, or made when a Hub cache was filled.

    Only as far as they still lead to the same files.
    """
    links: dict[str, Path] = {}
    if record is None or (record.kind != "published" and store.cached(record) is None):
        return links
    for path, receipt in load_receipts(store.folder(record) / "receipts.json").items():
        place = record.path / path
        if place.is_symlink() and place.exists():
            found = place.stat()
            if (found.st_dev, found.st_ino) == (receipt.dev, receipt.inode):
                links[path] = place.resolve()
    return links


def layers_of(store: Store, record: Record | None) -> Mapping[bytes, bytes]:
    """The piece layers of a release that are known here: from its `.torrent`, or what a fetch has kept of them."""
    if record is not None and record.adopted:
        return adopted_layers(store, record)
    torrent = store.torrent(record) if record is not None else None
    if torrent is not None:
        return parse_torrent(torrent).piece_layers
    if record is not None:
        with suppress(OSError, IntegrityError):
            return load_layers(store.folder(record), parse_info((store.folder(record) / "info").read_bytes()))
    return {}


def parts_of(verified: VerifiedManifest, record: Record | None) -> dict[str, Path]:
    """The staged files of which a fetch of some tensors has brought pieces; they have their full length, with holes."""
    parts: dict[str, Path] = {}
    if record is None or record.complete or record.kind != "fetched":
        return parts
    staged = record.staging / verified.manifest.torrent.name
    of_root: dict[bytes | None, Path] = {}
    for entry in verified.manifest.files:  # of equal files only one is staged
        place = staged / entry.path
        if entry.size and place.is_file() and place.stat().st_size == entry.size:
            of_root.setdefault(entry.pieces_root, place)
    for entry in verified.manifest.files:
        if entry.pieces_root in of_root and not (record.path / entry.path).exists():
            parts[entry.path] = of_root[entry.pieces_root]
    return parts
