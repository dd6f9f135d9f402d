"""The part of a fetch after the last file has its name: what is written down of it, and what is cleared away."""

from __future__ import annotations

from collections.abc import Mapping

from weightshare.api.drafting import hash_bytes
from weightshare.api.gating import Passed
from weightshare.api.own_files import place
from weightshare.api.piece_reuse import load_layers, save_layers
from weightshare.api.placing import Plan
from weightshare.api.sources import Target
from weightshare.content.landing import Landing
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.staging import clear_staging
from weightshare.content.store import Record, Store
from weightshare.manifest.metainfo import HashedFile, Info, build_torrent
from weightshare.manifest.model import MANIFEST_NAME


def record_landed(
    store: Store,
    record: Record,
    target: Target,
    passed: Passed,
    plan: Plan,
    landing: Landing,
    receipts: Mapping[str, Receipt],
    layers: Mapping[str, bytes],
    *,
    beside: bool = True,
) -> Record:
    """Write down what a fetch brought; returns the release's new record.

    Args:
        store: where.
        record: the release at its place.
        target: what was pasted.
        passed: what came through the gate.
        plan: what was to be fetched.
        landing: where it landed.
        receipts: of all files that are in place, by path.
        layers: their piece layers, by path.
        beside: whether the signed manifest is to lie with the files too, and not in the store alone.

    Raises:
        DiskError, NoSpaceError, StoreError: the disk refused.
    """
    verified = passed.decision.verified
    state = store.folder(record)
    complete = all(entry.path in receipts for entry in verified.manifest.files)
    if beside:
        place(verified.envelope, plan.staging / MANIFEST_NAME, record.path / MANIFEST_NAME)
    save_receipts(state / "receipts.json", receipts)
    torrent = _torrent(passed.info, layers, verified.envelope, target) if complete else None
    done = record.finished() if complete else record.selecting(tuple(sorted(receipts)))
    store.keep(done, torrent=torrent)
    if complete:
        (state / "layers").unlink(missing_ok=True)
    else:
        known = {f.pieces_root or b"": layers[f.path] for f in passed.info.files if layers.get(f.path)}
        save_layers(state, {**load_layers(state, passed.info), **known})
    staged = plan.staging / passed.info.name
    if not any((staged / e.path).exists() for e in verified.manifest.files if e.path not in receipts):
        # An earlier run may have begun other files. They stay, and the journal, for the one that asks for them.
        clear_staging(plan.staging)
        landing.forget()
    return done


def _torrent(info: Info, layers: Mapping[str, bytes], envelope: bytes, target: Target) -> bytes:
    """The release's `.torrent`, with the piece layers that were proven."""
    files = [
        HashedFile(file.path, file.size, file.pieces_root, layers.get(file.path, b""))
        for file in info.files
        if file.path != MANIFEST_NAME
    ]
    own = next(file for file in info.files if file.path == MANIFEST_NAME)
    if own.size > info.piece_length:
        files.append(hash_bytes(MANIFEST_NAME, envelope, info.piece_length))
    return build_torrent(info.raw, files, trackers=target.magnet.trackers, web_seeds=target.magnet.web_seeds)
