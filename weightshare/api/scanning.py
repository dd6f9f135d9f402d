"""`scan`: files that other programs keep on this disk and that known releases contain, to be reused or served."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from weightshare.api.found_in_place import add as add_in_place
from weightshare.api.known_releases import Known, release_named, releases_here
from weightshare.api.results import Scanned, ScannedFile, ScannedPlace, ScannedRelease
from weightshare.api.trusting import Decision, Trustee
from weightshare.content.finding import Looked, look
from weightshare.content.found_roots import Memory, Rooted, by_root, root_of_each, sort_out
from weightshare.content.home import Home
from weightshare.content.known_places import Place, known_places
from weightshare.content.receipts import Receipt, load_receipts
from weightshare.content.store import Store
from weightshare.errors import CorruptError, DiskError, ReleaseNotFoundError, StoreError
from weightshare.hub.settings import HubSettings
from weightshare.manifest.model import FileEntry
from weightshare.progress import Observer, ignore
from weightshare.trust.gate import VerifiedManifest


def scan(
    folders: Sequence[Path] = (),
    *,
    home: Home | None = None,
    releases: Sequence[str] = (),
    trust: Sequence[str] = (),
    add: bool = False,
    dry_run: bool = False,
    env: Mapping[str, str] | None = None,
    observe: Observer = ignore,
) -> Scanned:
    """Look for files of known releases: by size, and then by Merkle root.

    What it finds is remembered. `fetch` takes it from there, proven again, and the next scan hashes only what changed.
    Nothing is written to the folders that are looked in.

    Args:
        folders: where to look; none means the caches of Hugging Face, Ollama, LM Studio, llama.cpp and vLLM.
        home: where the store is.
        releases: what to look for beside the releases of the store: `.torrent` files, manifests, folders.
        trust: fingerprints to pin if a publisher is unknown.
        add: record releases of which every file was found, so that they are served from where they lie.
        dry_run: hash, remember and record nothing; a file whose root is not remembered counts as found by its size.
        env: the environment that says where programs keep their models; None for this process's.
        observe: told how hashing goes.

    Raises:
        DiskError: a folder that is named is not there, or the store cannot be written.
        UsageError, ReleaseNotFoundError: there is nothing to look for, or a release that is named is none.
        TrustError, IntegrityError: a release that is named cannot be believed.
    """
    began = time.monotonic()
    home = home or Home.default()
    store = Store(home)
    trustee = _Forgetful(home, trust) if dry_run else Trustee(home, trust)
    env = os.environ if env is None else env
    places = _places(folders, env)
    notes: list[str] = []
    known = _known(releases, store, trustee, notes)
    sizes = {entry.size for each in known for entry in each.verified.manifest.files if entry.size}
    looked = look([place.path for place in places], sizes, leave_out=[home.path])
    memory = Memory(home.findings)
    to_hash: list[Path] = []
    if dry_run:
        known_now, to_hash = sort_out(looked.candidates, memory.load())
        rooted = Rooted(known_now)
    else:
        rooted = root_of_each(looked.candidates, memory.load(), observe, learn=memory.learn)
        memory.learn(rooted.receipts)
    # What earlier scans found elsewhere is here as well.
    receipts = {**memory.holding(), **rooted.receipts}
    own = _own_files(store)
    found = _Found(looked, receipts, to_hash, own)
    results = []
    for each in known:
        files = found.files_of(each)
        result = _result(each, files)
        if add and not dry_run and result.whole and result.store is None:
            result = _added(store, each, files, {**own, **receipts}, observe)
        results.append(result)
    return Scanned(
        places=tuple(
            ScannedPlace(place.tool, place.path, *looked.seen[place.path])
            for place in places
            if place.path in looked.seen
        ),
        releases=tuple(results),
        candidates=len(looked.candidates),
        hashed=rooted.hashed,
        hashed_bytes=rooted.bytes,
        to_hash=len(to_hash),
        to_hash_bytes=sum(looked.candidates[path].st_size for path in to_hash),
        dry_run=dry_run,
        warnings=(*notes, *looked.all_notes(), *rooted.notes),
        seconds=time.monotonic() - began,
    )


def scan_for(
    verified: VerifiedManifest,
    folders: Sequence[Path] = (),
    *,
    home: Home | None = None,
    env: Mapping[str, str] | None = None,
    observe: Observer = ignore,
) -> None:
    """Look for the files of one release and remember what was found; as `on_passed` of a fetch, before it is planned.

    Args:
        verified: the release.
        folders: where to look, as for `scan`.
        home: where it is remembered.
        env: the environment that says where programs keep their models; None for this process's.
        observe: told how hashing goes.

    Raises:
        DiskError: a folder that is named is not there, or the memory cannot be written.
    """
    home = home or Home.default()
    places = _places(folders, os.environ if env is None else env)
    sizes = {entry.size for entry in verified.manifest.files if entry.size}
    looked = look([place.path for place in places], sizes, leave_out=[home.path])
    memory = Memory(home.findings)
    root_of_each(looked.candidates, memory.load(), observe, learn=memory.learn)


class _Forgetful(Trustee):
    """Whom to believe for the moment."""

    def remember(self, decision: Decision) -> None:
        """Nothing: a dry run changes nothing."""


def _places(folders: Sequence[Path], env: Mapping[str, str]) -> tuple[Place, ...]:
    if not folders:
        return known_places(env, HubSettings.from_environment(env).cache)
    named = {folder.expanduser().absolute(): None for folder in folders}
    for folder in named:
        if not folder.is_dir():
            raise DiskError(
                f"There is no folder {str(folder)!r} to look in.",
                hint="Without a name, scan looks where other programs keep models.",
                path=str(folder),
            )
    return tuple(Place("", folder) for folder in named)


def _known(releases: Sequence[str], store: Store, trustee: Trustee, notes: list[str]) -> list[Known]:
    """What to look for, each release once; a named one first, as its torrent may be what the store lacks."""
    by_envelope: dict[bytes, Known] = {}
    for source in releases:
        named = release_named(source, store, trustee)
        by_envelope.setdefault(named.verified.envelope, named)
    for stored in releases_here(store, trustee, notes):
        named = by_envelope.get(stored.verified.envelope, stored)
        by_envelope[stored.verified.envelope] = named if stored.torrent is None and named.torrent else stored
    if not by_envelope:
        raise ReleaseNotFoundError(
            "No release is known here, so there is nothing to look for.",
            hint="Name one with --release FILE.torrent, or begin a `weightshare fetch`.",
            release="",
        )
    return list(by_envelope.values())


def _own_files(store: Store) -> dict[Path, Receipt]:
    """Files of the store that nobody touched since they were proven: they may be what others' files lack."""
    own: dict[Path, Receipt] = {}
    for record in store.records():
        for path, receipt in load_receipts(store.folder(record) / "receipts.json").items():
            place = record.path / path
            if not place.is_symlink() and receipt.still_holds(place):
                own[place] = receipt
    return own


class _Found:
    """Where each known file is: by its root, or if that is not known yet by its size."""

    def __init__(
        self,
        looked: Looked,
        receipts: Mapping[Path, Receipt],
        unknown: Sequence[Path],
        own: Mapping[Path, Receipt],
    ) -> None:
        self._roots = by_root(receipts)
        self._own = by_root(own)
        self._sizes: dict[int, list[Path]] = {}
        for path in unknown:
            self._sizes.setdefault(looked.candidates[path].st_size, []).append(path)

    def files_of(self, known: Known) -> tuple[ScannedFile, ...]:
        """The files of a release; if others have some of them, the store's own files make up for the rest."""
        files = tuple(self._file(entry, self._roots) for entry in known.verified.manifest.files)
        if known.place is not None or not any(file.places for file in files):
            return files
        entries = known.verified.manifest.files
        return tuple(
            file if file.places else self._file(entry, self._own)
            for entry, file in zip(entries, files, strict=True)
        )

    def _file(self, entry: FileEntry, roots: Mapping[str, Sequence[Path]]) -> ScannedFile:
        surely = roots.get(entry.pieces_root.hex(), ()) if entry.pieces_root else ()
        return ScannedFile(entry.path, entry.size, (*surely, *self._sizes.get(entry.size, ())))


def _result(
    known: Known, files: tuple[ScannedFile, ...], *, added: Path | None = None, problem: str = ""
) -> ScannedRelease:
    return ScannedRelease(
        release=known.verified.release,
        publisher=known.verified.fingerprint,
        publisher_name=known.verified.publisher_name,
        info_hash_v2=known.info.v2_hash.hex() if known.info is not None else None,
        files=files,
        store=known.place,
        added=added,
        problem=problem,
    )


def _added(
    store: Store,
    known: Known,
    files: tuple[ScannedFile, ...],
    receipts: Mapping[Path, Receipt],
    observe: Observer,
) -> ScannedRelease:
    places = {file.path: file.places[0] for file in files if file.places}
    try:
        record = add_in_place(store, known, places, receipts, observe)
    except DiskError:
        raise
    except (
        CorruptError,
        StoreError,
    ) as error:  # a file changed meanwhile: the other releases are none the worse
        return _result(known, files, problem=error.message)
    return _result(known, files, added=record.path)
