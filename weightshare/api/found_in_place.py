"""A release whose files other programs keep, each somewhere else: a folder of links to them, and a record of it.

The folder is ours and the files are not: they are opened for reading, never written to, moved or deleted, and nothing
is put beside them. To the store it is a release that was published from there, so `verify`, `seed`, `run` and `ls` know
what to do: a link is followed only to the very file that its receipt is of.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from weightshare.api.known_releases import Known
from weightshare.api.offering import Located, take_in
from weightshare.api.own_files import clear_links
from weightshare.api.records import new_record
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Record, Store
from weightshare.errors import CorruptError, DiskError
from weightshare.files import write_atomically
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Observer


def add(
    store: Store,
    known: Known,
    places: Mapping[str, Path],
    receipts: Mapping[Path, Receipt],
    observe: Observer,
) -> Record:
    """Record a release in place.

    Args:
        store: where.
        known: the release.
        places: the file of each release path but those of empty files.
        receipts: of these files.
        observe: told how hashing goes, should the release's torrent be unknown here: then it is made again.

    Raises:
        CorruptError: a file changed since it was found.
        DiskError: the links cannot be made.
    """
    verified = known.verified
    record = _record(store, known)
    for path, place in places.items():
        if not receipts[place].still_holds(place):
            raise CorruptError(
                f"{place}, which is {path} of {verified.release}, changed since it was found.",
                hint="Run the same command again.",
                path=path,
                pieces=[],
            )
    try:
        _link(record.path, known, places)
    except OSError as error:
        raise DiskError(
            f"The links to the files of {verified.release} cannot be made in {record.path}: "
            f"{error.strerror or error}.",
            hint="Check the disk. On Windows, turn on Developer Mode or run it as administrator.",
            path=str(record.path),
        ) from error
    if known.torrent is None:
        located = Located(verified, record.path, {}, None, places, None)
        try:
            made = take_in(store, located, observe, known.info)
        except BaseException:
            clear_links(record, [*(entry.path for entry in verified.manifest.files), MANIFEST_NAME])
            raise
        record = replace(made, trackers=known.trackers, web_seeds=known.web_seeds)
        store.keep(record)
        return record
    store.keep(record, envelope=verified.envelope, torrent=known.torrent)
    kept = {
        entry.path: Receipt.of(record.path / entry.path, entry.pieces_root)
        if entry.path not in places
        else receipts[places[entry.path]]
        for entry in verified.manifest.files
    }
    save_receipts(store.folder(record) / "receipts.json", kept)
    return record


def _record(store: Store, known: Known) -> Record:
    verified = known.verified
    model = verified.manifest.model
    folder = store.home.found / Path(*model.id.split("/")) / model.version
    if any(store.envelope(other) != verified.envelope for other in store.at(folder)):
        folder = folder.with_name(f"{model.version}-{verified.payload_sha256.hex()[:8]}")
    return new_record(
        verified.manifest,
        verified.fingerprint,
        folder,
        known.info,
        "published",
        trackers=known.trackers,
        web_seeds=known.web_seeds,
    )


def _link(folder: Path, known: Known, places: Mapping[str, Path]) -> None:
    """Make the folder look like the release; what an earlier scan made is replaced in one step a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in known.verified.manifest.files:
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.path not in places:
            write_atomically(target, b"")
            continue
        fresh = target.with_name(f".weightshare-{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(places[entry.path])
        fresh.replace(target)
    write_atomically(folder / MANIFEST_NAME, known.verified.envelope)
