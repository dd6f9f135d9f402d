"""`fetch --manifest`: an old v1 torrent, proven by a manifest that travels beside it.

    manifest -> [its gate: signature, trust, policy] -> metadata -> [the same torrent, the same files] -> pieces
             -> SHA-256 of each file -> names

What comes is an ordinary release of the store. Until the last file is proven nothing has its final name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weightshare.api.documents import naming, read_document
from weightshare.api.downloads import download
from weightshare.api.gating import OnPassed
from weightshare.api.old.offers import ADOPTED_TORRENT, keep_layers, kept_torrent
from weightshare.api.old.swarming import Reach, old_swarm
from weightshare.api.old.targets import OldTarget, resolve_old
from weightshare.api.own_files import make, place, write
from weightshare.api.records import default_folder, new_record
from weightshare.api.results import Fetched, Received
from weightshare.api.results.old import VOUCHED
from weightshare.api.trusting import Confirm, Decision, Trustee
from weightshare.content.hashing import FileHashes, hash_files
from weightshare.content.home import Home
from weightshare.content.naming import put_in_place
from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.content.staging import clear_leftover, clear_staging, staging_lock
from weightshare.content.store import Record, Store
from weightshare.errors import CorruptError, FileInTheWayError, UsageError
from weightshare.files import sync_file
from weightshare.manifest.info import TreeFile
from weightshare.manifest.model import MANIFEST_NAME, FileEntry
from weightshare.manifest.plain import Plain, PlainTorrent, build_plain_torrent
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.trust import gate
from weightshare.trust.adoption import check_adopts, match_adopted
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import MAX_ENVELOPE

_NAMED = 10
_URL = ("http://", "https://")


def fetch_adopted(
    source: str,
    manifest: str | Path,
    directory: str | Path | None = None,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    confirm: Confirm | None = None,
    allow_pickle: bool = False,
    force: bool = False,
    reach: Reach | None = None,
    on_passed: OnPassed | None = None,
    observe: Observer = ignore,
) -> Fetched:
    """Fetch a v1 torrent that a manifest adopts, proving every file by its signed SHA-256 before its final name.

    Args:
        source: the torrent: a magnet link, a v1 info-hash, or a `.torrent` by path or URL.
        manifest: the signed manifest, by path or URL.
        directory: the folder the files land in; None chooses one in `home`.
        home: where records and pins are.
        trust: fingerprints (`SHA256:…`) to pin if the signer is unknown.
        confirm: asks the user about an unknown signer; None where nobody can be asked.
        allow_pickle: accept files that run code when loaded.
        force: replace files that stand in the way.
        reach: how the swarm may be reached.
        on_passed: told of the verified manifest before any piece is asked for; what it raises ends the fetch.
        observe: told how it goes.

    Raises:
        TrustError, ManifestError, RefusedContentError: the manifest is not believed; nothing was kept.
        TreeMismatchError: it is not that of this torrent; nothing was kept.
        CorruptError: the swarm has other bytes than were signed; none of them has its final name.
        NetworkError: too little came in time; resumable.
        StoreError: the disk or another process stands in the way; resumable.
    """
    began = time.monotonic()
    home, reach = home or Home.default(), reach or Reach()
    network, store = Network(reach.network), Store(home)
    envelope, named = _read(manifest, network)
    target = resolve_old(source, network)
    trustee = Trustee(home, trust, confirm)
    with naming(Path(named)):
        decision = trustee.decide(envelope, expect_publisher=target.magnet.publisher)
    verified = decision.verified
    if target.magnet.v1_hash is None:
        raise UsageError(
            "--manifest is for a v1 torrent, and this link has only a v2 info-hash.",
            hint="A v2 torrent that was published with weightshare carries its manifest: leave out --manifest.",
        )
    check_adopts(verified, target.magnet.v1_hash)
    seen = trustee.releases_of(store, verified.fingerprint)
    judged = gate.judge(verified, trustee.known, gate.Policy(allow_pickle=allow_pickle, seen=seen))
    warnings = (VOUCHED, *target.notes, *verified.warnings, *judged)
    folder = Path(directory).expanduser().absolute() if directory is not None else None
    record = _earlier(store, verified, folder)
    job = _Job(home, store, trustee, decision, reach, observe, force)
    if record is not None and job.already_here(record):
        trustee.remember(decision)
        clear_leftover(record.staging)
        done, received = record, 0
    else:
        if record is None or record.kind == "published":  # the user's own folder is never written to
            record = _new_record(store, verified, target, folder)
        done, received = job.run(record, target, on_passed)
    return Fetched(
        release=verified.release,
        publisher=verified.fingerprint,
        publisher_name=verified.publisher_name,
        path=done.path,
        bytes=done.bytes,
        files=len(verified.manifest.files),
        seconds=time.monotonic() - began,
        received=Received(swarm=received, reused=max(0, done.bytes - received)),
        info_hash_v2="",
        info_hash_v1=done.info_hash_v1,
        warnings=tuple(dict.fromkeys(warnings)),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """One fetch whose manifest is believed."""

    home: Home
    store: Store
    trustee: Trustee
    decision: Decision
    reach: Reach
    observe: Observer
    force: bool

    @property
    def verified(self) -> VerifiedManifest:
        return self.decision.verified

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        return self.verified.manifest.files

    def already_here(self, record: Record) -> bool:
        """Whether an earlier fetch brought all of it and nobody seems to have touched it since."""
        if not record.complete:
            return False
        receipts = load_receipts(self.store.folder(record) / "receipts.json")
        return all(
            entry.path in receipts and receipts[entry.path].still_holds(record.path / entry.path)
            for entry in self.entries
        )

    def run(self, record: Record, target: OldTarget, on_passed: OnPassed | None) -> tuple[Record, int]:
        """Bring and prove what is not here; returns the complete record, and the bytes that came."""
        known = kept_torrent(self.store, record)
        if target.torrent is None and known is not None and known.v1_hash == target.magnet.v1_hash:
            target = replace(target, torrent=PlainTorrent(known))
        with old_swarm(self.home, target, self.reach, self.observe) as swarm, self.home.scratch() as scratch:
            plain = swarm.metadata(scratch)
            if plain.v1 is None:
                raise UsageError(
                    f"The torrent {plain.name!r} has a v2 half, and only plain v1 torrents are adopted.",
                    hint="Fetch it without --manifest if it was published with weightshare.",
                )
            match_adopted(plain.v1, self.verified)
            if on_passed is not None:
                on_passed(self.verified)
            with self.store.lock(record), staging_lock(record.staging, f"{record.release} in {record.path}"):
                placed = self._in_place(record)
                self.store.keep(record, envelope=self.verified.envelope)
                state = self.store.folder(record)
                torrent = build_plain_torrent(plain.raw, trackers=record.trackers, web_seeds=record.web_seeds)
                write(state / ADOPTED_TORRENT, torrent)
                self.trustee.remember(self.decision)
                wanted = [at for at, file in enumerate(plain.files) if file.size and file.path not in placed]
                received = swarm.bring(plain, record.staging, wanted) if wanted else 0
                done = self._land(record, plain, placed)
            clear_staging(record.staging)
        return done, received

    def _in_place(self, record: Record) -> dict[str, FileHashes]:
        """The files that stand under their final names with the signed bytes.

        Raises:
            FileInTheWayError: another one stands there, that is not this release's.
        """
        ours = load_receipts(self.store.folder(record) / "receipts.json")
        here = [entry for entry in self.entries if (record.path / entry.path).exists()]
        sized = [
            entry
            for entry in here
            if (record.path / entry.path).is_file()
            and (record.path / entry.path).stat().st_size == entry.size
        ]
        found = self._hash(record.path, sized)
        sound = {entry.path: one for entry, one in zip(sized, found, strict=True) if _as_signed(entry, one)}
        strangers = [e.path for e in here if e.path not in sound and e.path not in ours]
        if strangers and not self.force:
            raise FileInTheWayError(
                f"Other files stand where the release must land, in {record.path}: "
                f"{', '.join(strangers[:_NAMED])}.",
                hint="Choose another folder, move them away, or replace them with --force.",
                path=str(record.path),
                paths=strangers,
            )
        return sound

    def _land(self, record: Record, plain: Plain, placed: dict[str, FileHashes]) -> Record:
        """Prove what was brought, and only then give it its names.

        Raises:
            CorruptError: a file is not what was signed. It is deleted; those that are sound stay staged.
        """
        make(record.staging)
        brought = [entry for entry in self.entries if entry.path not in placed]
        for entry in brought:
            if not entry.size:
                make((record.staging / entry.path).parent)
                (record.staging / entry.path).touch()
        found = dict(zip(brought, self._hash(record.staging, brought), strict=True))
        bad = [entry for entry, one in found.items() if not _as_signed(entry, one)]
        if bad:
            for entry in bad:
                (record.staging / entry.path).unlink(missing_ok=True)
            first = bad[0]
            raise CorruptError(
                f"The torrent {plain.name} has other bytes than {self.verified.release} was signed for: "
                f"{', '.join(entry.path for entry in bad[:_NAMED])}. SHA-256 of {first.path} is "
                f"{found[first].sha256.hex()}, signed is {first.sha256.hex()}.",
                hint="Nothing of it was put in place. Either the swarm was poisoned, or the manifest is not for these "
                "bytes: ask whoever signed it.",
                path=first.path,
                pieces=[],
                paths=[entry.path for entry in bad],
                expected=first.sha256.hex(),
                found=found[first].sha256.hex(),
            )
        for entry in brought:
            sync_file(record.staging / entry.path)
        make(record.path)
        landed = put_in_place(
            [(TreeFile(e.path, e.size, e.pieces_root), record.staging / e.path) for e in brought], record.path
        )
        place(self.verified.envelope, record.staging / MANIFEST_NAME, record.path / MANIFEST_NAME)
        kept = {
            e.path: Receipt.of(record.path / e.path, e.pieces_root) for e in self.entries if e.path in placed
        }
        state = self.store.folder(record)
        save_receipts(state / "receipts.json", {**kept, **landed})
        keep_layers(state, [*placed.values(), *found.values()])
        done = record.finished()
        self.store.keep(done)
        return done

    def _hash(self, folder: Path, entries: Sequence[FileEntry]) -> list[FileHashes]:
        return hash_files(
            [(folder / entry.path, entry.size) for entry in entries],
            self.verified.manifest.torrent.piece_length,
            hybrid=False,
            observe=self.observe,
        )


def _as_signed(entry: FileEntry, found: FileHashes) -> bool:
    return (found.sha256, found.pieces_root, found.size) == (entry.sha256, entry.pieces_root, entry.size)


def _read(manifest: str | Path, network: Network) -> tuple[bytes, str]:
    """The manifest's bytes, not yet believed, and what to call it."""
    text = str(manifest)
    if text.lower().startswith(_URL):
        return download(text, network, limit=MAX_ENVELOPE, claimed=True), text
    hint = "Give the weightshare.json that the signer posts, as a file or by its URL."
    return read_document(Path(manifest), MAX_ENVELOPE, hint=hint), text


def _earlier(store: Store, verified: VerifiedManifest, folder: Path | None) -> Record | None:
    """What an earlier fetch began or finished of this very manifest, or a folder that it was signed over here."""
    found = [
        record
        for record in store.of_hash(_adopted(verified))
        if folder in (None, record.path)
        and (record.kind == "fetched" or folder is None)
        and store.envelope(record) == verified.envelope
    ]
    whole = [record for record in found if record.complete]
    return (whole or found)[-1] if found else None


def _new_record(store: Store, verified: VerifiedManifest, target: OldTarget, folder: Path | None) -> Record:
    return new_record(
        verified.manifest,
        verified.fingerprint,
        folder or default_folder(store, verified.manifest, _adopted(verified)),
        None,
        "fetched",
        trackers=target.magnet.trackers,
        web_seeds=target.magnet.web_seeds,
    )


def _adopted(verified: VerifiedManifest) -> str:
    """The v1 info-hash of the torrent that a manifest adopts, in hex."""
    return (verified.manifest.torrent.adopts or b"").hex()
